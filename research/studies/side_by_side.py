"""Table of the same arms in several studies."""

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
"""Section of the studies that differ in their student or in their epochs."""
COLUMNS = {
    'shapes-plain': 'plain ViT, 10 epochs',
    'shapes': 'stem, average pooling and prior, 10 epochs',
    'shapes-long': 'the same, 20 epochs',
}
"""Titles of the columns by study."""


def side_by_side_table(arms: Sequence[str], columns: Mapping[str, Sequence[Cell]]) -> str:
    """Table with a row for each arm and a column for each study.

    Args:
        arms: names of the arms; arms without cells are skipped.
        columns: cells of a study by the title of its column. The name of a cell's run is its arm.

    Returns:
        Markdown with mean and standard deviation of the test metric over the seeds, and the number of seeds
        of arms that lack some.
    """
    seeds = {cell.seed for cells in columns.values() for cell in cells}
    rows = []
    for arm in arms:
        tests = [[cell.test for cell in cells if cell.run.name == arm] for cells in columns.values()]
        if any(tests):
            rows.append([arm, *(_entry(values, len(seeds)) for values in tests)])
    return markdown.table(['arm', *columns], rows)


def _entry(tests: Sequence[float], seeds: int) -> str:
    if not tests:
        return '–'
    return mean_and_spread(tests) + ('' if len(tests) == seeds else f' (n={len(tests)})')


def publish_students(study: str, root: Path) -> None:
    """Write the table of students, if two or more of its studies are published.

    The table has the arms and seeds that all published studies share.

    Args:
        study: name of the study; nothing is written for studies without a column.
        root: root of the repository.
    """
    if study not in COLUMNS:
        return
    cells_by_study = {name: list(read_published(PRESETS[name], name, root)[0].values()) for name in COLUMNS}
    published = {name: cells for name, cells in cells_by_study.items() if cells}
    if len(published) < 2:
        return
    seeds = set.intersection(*({cell.seed for cell in cells} for cells in published.values()))
    shared_arms = set.intersection(*({cell.run.name for cell in cells} for cells in published.values()))
    arms = [arm.name for arm in PRESETS['shapes'].arms if arm.name in shared_arms]
    columns = {
        COLUMNS[name]: [cell for cell in cells if cell.seed in seeds] for name, cells in published.items()
    }
    about = (
        f'{metric_name(PRESETS["shapes"].metrics[0])} on the test images, seeds '
        f'{", ".join(map(str, sorted(seeds)))}; mean ± standard deviation.'
    )
    put_section(root / PAGE, STUDENTS, f'{about}\n\n{side_by_side_table(arms, columns)}')
