"""A study: several arms over the same seeds, and what they say of the method."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from lfi.utils import markdown

from .convergence import equal_finish_table, same_schedule_table
from .csv_file import write_csv
from .paired import Difference, mean_and_spread, paired_by_seed
from .runs import Run

# Arm, seed and the domain that was left out, if any.
Key = tuple[str, int, str | None]
COLUMNS = (
    'arm',
    'seed',
    'epoch',
    'validation',
    'test',
    'training_seconds',
    'teacher_seconds',
    'machine',
    'identity',
)

DIGITS, SECONDS_DIGITS = 3, 1


@dataclass(frozen=True)
class Cell:
    """What one arm with one seed has found, with one domain left out where domains are.

    Args:
        seed: of the run.
        run: what its log says, on the validation images.
        test: the metric of the checkpoint on the test images, in per cent.
        machine: on which it ran.
        identity: of the settings it was run with.
        teacher_seconds: what was spent on the teacher before training; None where it is not known.
        domain: that was left out, and is tested. Defaults to none.
        epoch: of the checkpoint that was tested. Defaults to the run's last.
    """

    seed: int
    run: Run
    test: float
    machine: str
    identity: str = ''
    teacher_seconds: float | None = 0.0
    domain: str | None = None
    epoch: int | None = None

    def as_written(self) -> Cell:
        """With the digits that a CSV keeps, so that tables say the same before and after."""
        accuracy = tuple(round(value, DIGITS) for value in self.run.accuracy)
        teacher = self.teacher_seconds
        return replace(
            self,
            run=replace(self.run, accuracy=accuracy, seconds=round(self.run.seconds, SECONDS_DIGITS)),
            test=round(self.test, DIGITS),
            teacher_seconds=None if teacher is None else round(teacher, SECONDS_DIGITS),
        )


def teacher_seconds_of(cells: Sequence[Cell]) -> float | None:
    """What was spent on the teacher before training, mean over cells; None where it is not known of all."""
    known = [cell.teacher_seconds for cell in cells if cell.teacher_seconds is not None]
    return float(np.mean(known)) if len(known) == len(cells) else None


def teacher_in_words(seconds: Mapping[str, float | None]) -> str:
    """A sentence on what `teacher_seconds_of` each arm's cells is; '' where no arm is known to have any."""
    spent = [f'{value:.0f} seconds for {arm}' for arm, value in seconds.items() if value]
    return f' The teacher took {" and ".join(spent)} before training.' if spent else ''


@dataclass(frozen=True)
class Study:
    """The cells of all arms.

    Args:
        cells: by the arm's name, the baseline's first; arms are compared by the seeds that they share.
        method: the arm that is to be judged.
        negative_controls: arms with the teacher's knowledge destroyed, each with the arm that it is compared
            with.
        published: the paper's own gain of the method, for a column of its own.
        short: cells of the method's complete schedules of fewer epochs, by name.
        metric: of the test, as the tables call it. Defaults to that of the validation.
        further_baselines: arms with which convergence is compared too, such as the task loss without the
            prior; one that has no cell is left out.
    """

    cells: Mapping[str, Sequence[Cell]]
    method: str
    negative_controls: Mapping[str, str] = field(default_factory=dict)
    published: str | None = None
    short: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    metric: str | None = None
    further_baselines: Sequence[str] = ()

    @property
    def baseline(self) -> str:
        """The first arm."""
        return next(iter(self.cells))

    @property
    def _metric(self) -> str:
        return self.metric or self.cells[self.baseline][0].run.metric

    def test(self, arm: str) -> list[float]:
        """The arm's test metric, seed by seed."""
        return [cell.test for cell in self.cells[arm]]

    def by_seed(self, arm: str) -> dict[int, float]:
        """The arm's test metric by seed; empty for an arm that has no cell."""
        return {cell.seed: cell.test for cell in self.cells.get(arm, ())}

    def verdict(self) -> str:
        """Each negative control against its own arm and against the method, bad news first.

        '' where none was run with two seeds.
        """
        found = []
        for control, own in self.negative_controls.items():
            for arm in dict.fromkeys((own, self.method)):
                gain, loss = self.difference(control, arm), self.difference(arm, control)
                if gain is not None and loss is not None:
                    found.append((gain.low > 0, self._sentence(control, arm, gain, loss)))
        found.sort(key=lambda pair: pair[0])
        return ' '.join(sentence for _, sentence in found)

    def _sentence(self, control: str, arm: str, gain: Difference, loss: Difference) -> str:
        unit = f'points of {self._metric}'
        but = f'although {control} learns nothing image-specific from the teacher.'
        if gain.low > 0:
            return f'**{arm} beats {control}**, by {gain} {unit}.'
        if loss.low > 0:
            return f'**{control} beats {arm}**, by {loss} {unit}, {but}'
        return f'**{control} is not significantly different from {arm}**: {gain} {unit}, {but}'

    def table(self) -> str:
        """A row for each arm: its test metric as in `test_table`, and how its training went."""
        metric = self.cells[self.baseline][0].run.metric
        target = {cell.seed: cell.run.best for cell in self.cells[self.baseline]}
        titles = [
            *self._test_titles(),
            f'{metric}, validation',
            f"epochs to hold {self.baseline}'s best",
            'training seconds',
        ]
        rows = [[*self._test_row(arm), *self._training_row(arm, target)] for arm in self.cells]
        if self.published is not None:
            titles.append("the paper's gain, its own data and models")
            rows = [[*row, self.published if row[0] == self.method else ''] for row in rows]
        return markdown.table(titles, rows)

    def test_table(self) -> str:
        """A row for each arm: means and standard deviations over the seeds, and paired differences."""
        return markdown.table(self._test_titles(), [self._test_row(arm) for arm in self.cells])

    def _test_titles(self) -> list[str]:
        return ['arm', 'seeds', f'{self._metric}, test', f'minus {self.baseline}', f'{self.method} minus it']

    def _test_row(self, arm: str) -> list[str]:
        return [
            arm,
            str(len(self.cells[arm])),
            mean_and_spread(self.test(arm)),
            str(self.difference(self.baseline, arm) or '–'),
            str(self.difference(arm, self.method) or '–'),
        ]

    def _training_row(self, arm: str, target: Mapping[int, float]) -> list[str]:
        cells = self.cells[arm]
        # A seed that the baseline has not run has no best of its own to hold.
        epochs = [cell.run.epochs_to_hold(target[cell.seed]) for cell in cells if cell.seed in target]
        return [
            mean_and_spread([cell.run.accuracy[-1] for cell in cells]),
            _epochs_held(epochs),
            f'{np.mean([cell.run.seconds for cell in cells]):.0f}',
        ]

    def convergence(self) -> str:
        """How much sooner the method gets where each baseline ends, by both protocols; '' if none was run."""
        compared = [self._sooner_than(arm) for arm in (self.baseline, *self.further_baselines)]
        return '\n\n'.join(part for part in compared if part)

    def _sooner_than(self, arm: str) -> str:
        seeds = self._shared_seeds(self.cells.get(arm, ()), self.cells.get(self.method, ()))
        if not seeds:
            return ''
        baseline, method = (_by_seed(self.cells[name], seeds) for name in (arm, self.method))
        theirs, ours = teacher_seconds_of(baseline), teacher_seconds_of(method)
        if len({cell.run.epochs for cell in (*baseline, *method)}) > 1:
            return f'How much sooner {self.method} is than {arm} is not told: a run lacks a validation.'
        parts = [
            f"How much sooner {self.method} holds a share of {arm}'s best, with the same "
            f'schedule; validation images, {len(seeds)} seed{"s" * (len(seeds) > 1)}.'
            f'{teacher_in_words({arm: theirs, self.method: ours})}',
            same_schedule_table(
                [c.run for c in baseline],
                [c.run for c in method],
                ours,
                baseline_teacher_seconds=theirs,
            ),
        ]
        if self.short:
            seeds = self._shared_seeds(baseline, *self.short.values())
        if self.short and seeds:
            full = [cell.run for cell in _by_seed(baseline, seeds)]
            short = [cell.run for cells in self.short.values() for cell in _by_seed(cells, seeds)]
            parts += [
                f'Equal finish: complete schedules of {self.method} in fewer epochs, against {arm}; '
                'validation images.',
                equal_finish_table(full, short),
            ]
        return '\n\n'.join(parts)

    @staticmethod
    def _shared_seeds(*arms: Sequence[Cell]) -> list[int]:
        return sorted(set.intersection(*({cell.seed for cell in cells} for cells in arms)))

    def machines(self) -> list[str]:
        """Each machine that ran a cell."""
        return sorted({cell.machine for cells in self.cells.values() for cell in cells})

    def write_csv(self, path: str | Path) -> None:
        """Write one line for each arm, seed and epoch, with its validation; the last has the test metric."""
        rows: list[Sequence[object]] = [COLUMNS]
        for arm, cells in {**self.cells, **self.short}.items():
            for cell in cells:
                for epoch, value in zip(cell.run.epochs, cell.run.accuracy):
                    teacher = (
                        '' if cell.teacher_seconds is None else f'{cell.teacher_seconds:.{SECONDS_DIGITS}f}'
                    )
                    end = [f'{cell.test:.{DIGITS}f}', f'{cell.run.seconds:.{SECONDS_DIGITS}f}', teacher]
                    end += [cell.machine, cell.identity]
                    row = [arm, cell.seed, epoch, f'{value:.{DIGITS}f}']
                    rows.append([*row, *(end if epoch == cell.run.length else [''] * len(end))])
        write_csv(rows, path)

    def difference(self, before: str, after: str) -> Difference | None:
        """after - before on the test images, by the seeds of both; None for fewer than two, or one arm."""
        return None if before == after else paired_by_seed(self.by_seed(before), self.by_seed(after))


def read_cells(path: str | Path, metric: str) -> dict[Key, Cell]:
    """The cells that `Study.write_csv` wrote, by arm, seed and no domain.

    Args:
        path: of the file.
        metric: as the tables call it.
    """
    curves: dict[Key, dict[int, float]] = {}
    cells: dict[Key, Cell] = {}
    with open(path, newline='') as file:
        for row in csv.DictReader(file):
            key = (row['arm'], int(row['seed']), None)
            curve = curves.setdefault(key, {})
            curve[int(row['epoch'])] = float(row['validation'])
            if row['test']:
                seconds = float(row['training_seconds'])
                run = Run(row['arm'], tuple(curve.values()), seconds, {}, metric, tuple(curve))
                teacher = float(row['teacher_seconds']) if row.get('teacher_seconds') else None
                cells[key] = Cell(key[1], run, float(row['test']), row['machine'], row['identity'], teacher)
    return cells


def _epochs_held(epochs: Sequence[int | None]) -> str:
    """The mean epoch from which runs hold what they are compared with, or how many of them hold it."""
    held = [epoch for epoch in epochs if epoch is not None]
    if len(held) < len(epochs):
        return f'{len(held)} of {len(epochs)} hold it'
    return f'{np.mean(held):.1f}' if held else '–'


def _by_seed(cells: Sequence[Cell], seeds: Sequence[int]) -> list[Cell]:
    known = {cell.seed: cell for cell in cells}
    return [known[seed] for seed in seeds]
