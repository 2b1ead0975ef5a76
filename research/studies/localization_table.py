"""Table of localization and presence for each arm, with the teacher and chance as references."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lfi.errors import UsageError
from lfi.utils import markdown

from .csv_file import write_csv
from .grid import LOCALIZATION_PREFIX
from .job import Job
from .paired import mean_and_spread, paired_by_seed
from .presets import BY_HEAD
from .study import Key


class Measure(NamedTuple):
    """Measure of `lfi.SemanticConsistencyMetric`.

    Args:
        title: title of the column.
        references: suffixes of the metrics to compare with.
        scale: factor to the unit of the table. Defaults to 100: per cent.
        digits: digits after the decimal point. Defaults to 1.
    """

    title: str
    references: tuple[str, ...]
    scale: float = 100
    digits: int = 1


# Titles of the reference rows by the suffix of their metrics.
REFERENCE_ROWS = {'_teacher': '*teacher*', '_centre': '*centre map*', '_frequency': '*frequency*'}
OBJECT_REFERENCES, PRESENCE_REFERENCES = ('_teacher', '_centre'), ('_teacher', '_frequency')
MEASURES = {
    'pointing': Measure('pointing', OBJECT_REFERENCES),
    'energy': Measure('energy', OBJECT_REFERENCES),
    'between_concepts': Measure('between concepts', ('_teacher',), scale=1, digits=2),
    'presence_average_precision': Measure('presence, AP', PRESENCE_REFERENCES),
    'presence_top1': Measure('top-1 by presence', PRESENCE_REFERENCES),
    'unlabelled_pointing': Measure('pointing, not the label', OBJECT_REFERENCES),
    'unlabelled_presence_average_precision': Measure('presence, AP, not the label', PRESENCE_REFERENCES),
}
NAMES = tuple(f'{name}{suffix}' for name, measure in MEASURES.items() for suffix in ('', *measure.references))


@dataclass(frozen=True)
class Localization:
    """Localization of the student of one arm with one seed.

    Args:
        seed: seed of the run.
        values: metrics by the names in `NAMES`, unscaled, without those that are missing or not comparable.
        identity: digest of the settings of the run. Defaults to ''.
    """

    seed: int
    values: Mapping[str, float]
    identity: str = ''


def read_localization_cell(job: Job) -> Localization | None:
    """Read the localization metrics of a job; None if it is not finished or has none."""
    try:
        result = job.result() or {}
    except UsageError:
        # The job has other settings. The table of test metrics reports it.
        return None
    values = localization_values(result.get('test', {}))
    if set(BY_HEAD) <= set(job.test_options):
        # Class activation maps have an arbitrary scale.
        values.pop('energy', None)
    return Localization(job.seed, values, job.identity) if values else None


def localization_values(metrics: Mapping[str, float]) -> dict[str, float]:
    """Select the localization metrics of a test, by the names in `NAMES`."""
    values = {name: metrics.get(f'{LOCALIZATION_PREFIX}{name}') for name in NAMES}
    return {name: value for name, value in values.items() if value is not None}


def collect_localization(
    jobs: Iterable[Job], published: Mapping[Key, Localization]
) -> dict[str, list[Localization]]:
    """Collect the cells of jobs by arm, from their results or from published cells of the same settings."""
    cells: dict[str, list[Localization]] = {}
    for job in jobs:
        cell, published_cell = read_localization_cell(job), published.get(job.key)
        if cell is None and published_cell and published_cell.identity == job.identity:
            cell = published_cell
        if cell is not None:
            cells.setdefault(job.arm.name, []).append(cell)
    return cells


def localization_report(cells: Mapping[str, Sequence[Localization]], method: str) -> str:
    """Return the table of all arms and the comparison of the method with its teacher, as Markdown.

    Args:
        cells: cells by arm name. The report is '' if there are none.
        method: name of the arm to judge.
    """
    if not cells:
        return ''
    about = (
        'Where they look, and what they find present: all annotated objects of the test images, per cent but '
        'for *between concepts*; mean ± standard deviation over the seeds. A student that is not asked '
        "answers by its head: by class activation maps and the classes' probabilities."
    )
    parts = [
        about,
        localization_table(cells, cells.get(method, ()), method),
        compare_with_teacher(cells.get(method, ()), method),
    ]
    return '\n\n'.join(part for part in parts if part)


def localization_table(
    cells: Mapping[str, Sequence[Localization]], method_cells: Sequence[Localization], method: str
) -> str:
    """Markdown table with a row for each arm and each reference of the method, without empty columns.

    Args:
        cells: cells by arm name.
        method_cells: cells of the method.
        method: name of the method.
    """
    rows = {**cells, **_reference_rows(method_cells)}
    names = [name for name in MEASURES if any(_scaled_values(row, name) for row in cells.values())]
    titles = ['arm', 'seeds', *(MEASURES[name].title for name in names), f"{method}'s pointing minus it"]
    lines = [
        [
            title,
            str(len(row)),
            *(_entry(_scaled_values(row, name), MEASURES[name].digits) for name in names),
            '–' if title == method else _difference(row, method_cells),
        ]
        for title, row in rows.items()
    ]
    return markdown.table(titles, lines)


def compare_with_teacher(cells: Sequence[Localization], method: str) -> str:
    """Compare pointing, presence and similarity of maps between concepts with the teacher.

    Args:
        cells: cells of the method.
        method: name of the method.

    Returns:
        Sentences with mean and spread over the seeds; '' if nothing was measured.
    """
    names = {'pointing': "its teacher's pointing", 'presence_average_precision': "its teacher's presence, AP"}
    ratios = {
        title: [student / teacher for student, teacher in _student_and_teacher(cells, name) if teacher]
        for name, title in names.items()
    }
    shares = [f'{mean_and_spread(values, 2)} of {title}' for title, values in ratios.items() if values]
    sentences = [f'{method} has {" and ".join(shares)}.'] if shares else []
    differences = [student - teacher for student, teacher in _student_and_teacher(cells, 'between_concepts')]
    if differences:
        difference = f'{"+" if np.mean(differences) > 0 else ""}{mean_and_spread(differences, 2)}'
        sentences.append(f'Between concepts, {method} minus its teacher is {difference}.')
    return ' '.join(sentences)


def _reference_rows(cells: Sequence[Localization]) -> dict[str, list[Localization]]:
    """Rows of the teacher and of chance, from the metrics in the cells of the method."""
    rows = {}
    for suffix, title in REFERENCE_ROWS.items():
        row = [
            Localization(
                cell.seed,
                {name: cell.values[name + suffix] for name in MEASURES if name + suffix in cell.values},
            )
            for cell in cells
        ]
        if any(cell.values for cell in row):
            rows[title] = row
    return rows


def _scaled_values(cells: Sequence[Localization], name: str) -> list[float]:
    """Values of a measure in the unit of the table."""
    return [MEASURES[name].scale * cell.values[name] for cell in cells if name in cell.values]


def _entry(values: Sequence[float], digits: int) -> str:
    return mean_and_spread(values, digits) if values else '–'


def _difference(before: Sequence[Localization], after: Sequence[Localization]) -> str:
    """Paired difference in pointing, after - before, over shared seeds; '–' for fewer than two seeds."""
    first, second = (
        {cell.seed: 100 * cell.values['pointing'] for cell in cells if 'pointing' in cell.values}
        for cells in (before, after)
    )
    return str(paired_by_seed(first, second) or '–')


def _student_and_teacher(cells: Sequence[Localization], name: str) -> list[tuple[float, float]]:
    """Values of student and teacher for each cell that has both."""
    pairs = ((cell.values.get(name), cell.values.get(f'{name}_teacher')) for cell in cells)
    return [(student, teacher) for student, teacher in pairs if student is not None and teacher is not None]


def write_localization(cells: Mapping[str, Sequence[Localization]], path: Path) -> None:
    """Write a CSV file with one line for each arm and seed: metrics and identity."""
    rows: list[Sequence[object]] = [('arm', 'seed', *NAMES, 'identity')]
    for arm, arm_cells in cells.items():
        for cell in arm_cells:
            values = [f'{cell.values[name]:.5f}' if name in cell.values else '' for name in NAMES]
            rows.append([arm, cell.seed, *values, cell.identity])
    write_csv(rows, path)


def read_localization(path: Path) -> dict[Key, Localization]:
    """Read a file of `write_localization`, by arm, seed and None; empty if there is no file."""
    if not path.exists():
        return {}
    with open(path, newline='') as file:
        return {
            (row['arm'], int(row['seed']), None): Localization(
                int(row['seed']),
                {name: float(row[name]) for name in NAMES if row.get(name)},
                row['identity'],
            )
            for row in csv.DictReader(file)
        }
