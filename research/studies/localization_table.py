"""Where each arm's student looks and what it finds present, beside its teacher and levels of chance."""

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
from .grid import WHERE
from .job import Job
from .paired import mean_and_spread, paired_by_seed
from .presets import BY_HEAD
from .study import Key


class Measure(NamedTuple):
    """A measure of `lfi.SemanticConsistencyMetric`.

    Args:
        title: of its column.
        levels: the ends of the names of what it is compared with.
        scale: what makes it per cent, or 1.
        digits: behind the point.
    """

    title: str
    levels: tuple[str, ...]
    scale: float = 100
    digits: int = 1


# The rows of what is compared with, by the end of its name.
LEVELS = {'_teacher': '*teacher*', '_centre': '*centre map*', '_frequency': '*frequency*'}
ON_OBJECTS, OF_PRESENCE = ('_teacher', '_centre'), ('_teacher', '_frequency')
MEASURES = {
    'pointing': Measure('pointing', ON_OBJECTS),
    'energy': Measure('energy', ON_OBJECTS),
    'between_concepts': Measure('between concepts', ('_teacher',), scale=1, digits=2),
    'presence_average_precision': Measure('presence, AP', OF_PRESENCE),
    'presence_top1': Measure('top-1 by presence', OF_PRESENCE),
    'unlabelled_pointing': Measure('pointing, not the label', ON_OBJECTS),
    'unlabelled_presence_average_precision': Measure('presence, AP, not the label', OF_PRESENCE),
}
NAMES = tuple(f'{name}{level}' for name, measure in MEASURES.items() for level in ('', *measure.levels))


@dataclass(frozen=True)
class Located:
    """Where the student of one arm with one seed looks.

    Args:
        seed: of the run.
        values: by the names in `NAMES`, as the metric gives them; what was not measured, or does not compare,
            is left out.
        identity: of the settings it was run with.
    """

    seed: int
    values: Mapping[str, float]
    identity: str = ''


def located_of(job: Job) -> Located | None:
    """What the job's test says of it; None if it is not finished, or does not say."""
    try:
        result = job.result() or {}
    except UsageError:
        # Of other settings; who reads the other metrics says so.
        return None
    values = values_of(result.get('test', {}))
    if set(BY_HEAD) <= set(job.test_options):
        # The scale of class activation maps is arbitrary.
        values.pop('energy', None)
    return Located(job.seed, values, job.identity) if values else None


def values_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a test's metrics say of where a student looks, by the names in `NAMES`; else nothing."""
    found = {name: metrics.get(f'{WHERE}{name}') for name in NAMES}
    return {name: value for name, value in found.items() if value is not None}


def collect_localization(jobs: Iterable[Job], published: Mapping[Key, Located]) -> dict[str, list[Located]]:
    """By arm what all jobs have found, and what is published of those that have today's settings."""
    cells: dict[str, list[Located]] = {}
    for job in jobs:
        found, known = located_of(job), published.get(job.key)
        if found is None and known and known.identity == job.identity:
            found = known
        if found is not None:
            cells.setdefault(job.arm.name, []).append(found)
    return cells


def localization_report(cells: Mapping[str, Sequence[Located]], method: str) -> str:
    """A table with a row for each arm, and what the method has of its teacher; '' if no arm was measured.

    Args:
        cells: by arm.
        method: the arm that is to be judged.
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
        where_table(cells, cells.get(method, ()), method),
        beside_teacher(cells.get(method, ()), method),
    ]
    return '\n\n'.join(part for part in parts if part)


def where_table(cells: Mapping[str, Sequence[Located]], judged: Sequence[Located], method: str) -> str:
    """Rows for the arms, and for what the method's students are compared with; columns that have a value.

    Args:
        cells: by arm, the rows.
        judged: the method's.
        method: its name.

    Returns:
        Markdown.
    """
    rows = {**cells, **_levels_of(judged)}
    shown = [name for name in MEASURES if any(_in_units(found, name) for found in cells.values())]
    titles = ['arm', 'seeds', *(MEASURES[name].title for name in shown), f"{method}'s pointing minus it"]
    lines = [
        [
            row,
            str(len(found)),
            *(_entry(_in_units(found, name), MEASURES[name].digits) for name in shown),
            '–' if row == method else _difference(found, judged),
        ]
        for row, found in rows.items()
    ]
    return markdown.table(titles, lines)


def beside_teacher(judged: Sequence[Located], method: str) -> str:
    """How much of its teacher's pointing and presence the method has, and how alike its maps are beside it.

    Args:
        judged: the method's cells.
        method: its name.

    Returns:
        Sentences with mean and spread over the seeds; '' for what was not measured.
    """
    whose = {'pointing': "its teacher's pointing", 'presence_average_precision': "its teacher's presence, AP"}
    shares = {
        words: [own / teacher for own, teacher in _with_teacher(judged, name) if teacher]
        for name, words in whose.items()
    }
    told = [f'{mean_and_spread(values, 2)} of {words}' for words, values in shares.items() if values]
    sentences = [f'{method} has {" and ".join(told)}.'] if told else []
    more = [own - teacher for own, teacher in _with_teacher(judged, 'between_concepts')]
    if more:
        sign = '+' if np.mean(more) > 0 else ''
        sentences.append(f'Between concepts, {method} minus its teacher is {sign}{mean_and_spread(more, 2)}.')
    return ' '.join(sentences)


def _levels_of(judged: Sequence[Located]) -> dict[str, list[Located]]:
    """What the cells are compared with, by the name of its row, as if it had been measured itself."""
    levels = {}
    for end, row in LEVELS.items():
        found = [
            Located(
                cell.seed, {name: cell.values[name + end] for name in MEASURES if name + end in cell.values}
            )
            for cell in judged
        ]
        if any(cell.values for cell in found):
            levels[row] = found
    return levels


def _in_units(cells: Sequence[Located], name: str) -> list[float]:
    """A measure's values as the table shows them."""
    return [MEASURES[name].scale * cell.values[name] for cell in cells if name in cell.values]


def _entry(values: Sequence[float], digits: int) -> str:
    return mean_and_spread(values, digits) if values else '–'


def _difference(before: Sequence[Located], after: Sequence[Located]) -> str:
    """after - before in pointing, by the seeds of both; '–' for fewer than two."""
    first, second = (
        {cell.seed: 100 * cell.values['pointing'] for cell in cells if 'pointing' in cell.values}
        for cells in (before, after)
    )
    return str(paired_by_seed(first, second) or '–')


def _with_teacher(cells: Sequence[Located], name: str) -> list[tuple[float, float]]:
    """A measure of the student, and the same of its teacher, for each cell that has both."""
    both = ((cell.values.get(name), cell.values.get(f'{name}_teacher')) for cell in cells)
    return [(own, teacher) for own, teacher in both if own is not None and teacher is not None]


def write_localization(cells: Mapping[str, Sequence[Located]], path: Path) -> None:
    """Write one line for each arm and seed: the measures by the metric's names, and the identity."""
    rows: list[Sequence[object]] = [('arm', 'seed', *NAMES, 'identity')]
    for arm, found in cells.items():
        for cell in found:
            values = [f'{cell.values[name]:.5f}' if name in cell.values else '' for name in NAMES]
            rows.append([arm, cell.seed, *values, cell.identity])
    write_csv(rows, path)


def read_localization(path: Path) -> dict[Key, Located]:
    """What `write_localization` wrote, by arm, seed and no domain; nothing where there is no file."""
    if not path.exists():
        return {}
    with open(path, newline='') as file:
        return {
            (row['arm'], int(row['seed']), None): Located(
                int(row['seed']),
                {name: float(row[name]) for name in NAMES if row.get(name)},
                row['identity'],
            )
            for row in csv.DictReader(file)
        }
