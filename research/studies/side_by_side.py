"""The same arms in several studies, as one table with a column for each study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lfi.utils import markdown

from .paired import mean_and_spread
from .presets import PRESETS
from .published import PAGE, put_section, read_published
from .runs import metric_name
from .study import Cell

STUDENTS = 'shapes-students'
"""The section of the studies that differ by their student, or by how long it learns."""
COLUMNS = {
    'shapes-plain': 'plain ViT, 10 epochs',
    'shapes': 'stem, average pooling and prior, 10 epochs',
    'shapes-long': 'the same, 20 epochs',
}
"""These studies, and what heads their columns."""


def side_by_side_table(arms: Sequence[str], columns: Mapping[str, Sequence[Cell]]) -> str:
    """A row for each arm, a column for each study.

    Args:
        arms: the rows.
        columns: by what heads a column, the study's cells of all arms, each with its arm as the name of its
            run.

    Returns:
        Markdown; mean and standard deviation of the test metric over the seeds. Where an arm has fewer seeds
        than others, it says how many; an arm that has no cell at all has no row.
    """
    seeds = {cell.seed for cells in columns.values() for cell in cells}
    rows = []
    for arm in arms:
        tests = [[cell.test for cell in cells if cell.run.name == arm] for cells in columns.values()]
        if any(tests):
            rows.append([arm, *(_entry(found, len(seeds)) for found in tests)])
    return markdown.table(['arm', *columns], rows)


def _entry(tests: Sequence[float], seeds: int) -> str:
    if not tests:
        return '–'
    return mean_and_spread(tests) + ('' if len(tests) == seeds else f' (n={len(tests)})')


def publish_students(study: str, root: Path) -> None:
    """Write the table of students to which a study belongs, if two of its studies or more are published.

    It has the arms and the seeds that all of these have.

    Args:
        study: its name; nothing is written for one that is not among them.
        root: of the repository.
    """
    if study not in COLUMNS:
        return
    published = {name: list(read_published(PRESETS[name], name, root)[0].values()) for name in COLUMNS}
    found = {name: cells for name, cells in published.items() if cells}
    if len(found) < 2:
        return
    seeds = set.intersection(*({cell.seed for cell in cells} for cells in found.values()))
    shared = set.intersection(*({cell.run.name for cell in cells} for cells in found.values()))
    arms = [arm.name for arm in PRESETS['shapes'].arms if arm.name in shared]
    columns = {COLUMNS[name]: [cell for cell in cells if cell.seed in seeds] for name, cells in found.items()}
    about = (
        f'{metric_name(PRESETS["shapes"].metrics[0])} on the test images, seeds '
        f'{", ".join(map(str, sorted(seeds)))}; mean ± standard deviation.'
    )
    put_section(root / PAGE, STUDENTS, f'{about}\n\n{side_by_side_table(arms, columns)}')
