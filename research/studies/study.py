"""Study of several arms over the same seeds, and its tables."""

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

# Arm, seed, and the domain left out or None.
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
    """Result of one arm with one seed and, in studies of domains, one domain left out.

    Args:
        seed: seed of the run.
        run: training run, with its metric on the validation images.
        test: metric of the checkpoint on the test images, in per cent.
        machine: machine of the run.
        identity: digest of the settings of the run. Defaults to ''.
        teacher_seconds: seconds spent on the teacher before training. None: unknown. Defaults to 0.
        domain: domain that was left out and is tested. Defaults to None.
        epoch: epoch of the tested checkpoint. Defaults to None: the last.
    """

    seed: int
    run: Run
    test: float
    machine: str
    identity: str = ''
    teacher_seconds: float | None = 0.0
    domain: str | None = None
    epoch: int | None = None

    def rounded(self) -> Cell:
        """Round to the digits of the CSV file, so that tables do not change when it is read back."""
        accuracy = tuple(round(value, DIGITS) for value in self.run.accuracy)
        teacher = self.teacher_seconds
        return replace(
            self,
            run=replace(self.run, accuracy=accuracy, seconds=round(self.run.seconds, SECONDS_DIGITS)),
            test=round(self.test, DIGITS),
            teacher_seconds=None if teacher is None else round(teacher, SECONDS_DIGITS),
        )


def mean_teacher_seconds(cells: Sequence[Cell]) -> float | None:
    """Return the mean seconds spent on the teacher before training; None if unknown for a cell."""
    seconds = [cell.teacher_seconds for cell in cells if cell.teacher_seconds is not None]
    return float(np.mean(seconds)) if len(seconds) == len(cells) else None


def teacher_sentence(seconds: Mapping[str, float | None]) -> str:
    """Return a sentence on the `mean_teacher_seconds` of arms; '' if all are zero or unknown."""
    parts = [f'{value:.0f} seconds for {arm}' for arm, value in seconds.items() if value]
    return f' The teacher took {" and ".join(parts)} before training.' if parts else ''


@dataclass(frozen=True)
class Study:
    """Cells of all arms.

    Args:
        cells: cells by arm name, the baseline first. Arms are compared over the seeds that they share.
        method: name of the arm to judge.
        negative_controls: names of the negative controls, each with the arm to compare with.
        published: gain of the method in the paper, for a column of the table. Defaults to None.
        short: cells of the method's complete schedules of fewer epochs, by name. Defaults to none.
        metric: name of the test metric in tables. Defaults to None: the validation metric.
        further_baselines: arms with which to compare convergence too, such as the task loss without the
            prior; arms without cells are skipped. Defaults to none.
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
        """Name of the first arm."""
        return next(iter(self.cells))

    @property
    def _metric(self) -> str:
        return self.metric or self.cells[self.baseline][0].run.metric

    def test(self, arm: str) -> list[float]:
        """Return the test metric of an arm, seed by seed."""
        return [cell.test for cell in self.cells[arm]]

    def by_seed(self, arm: str) -> dict[int, float]:
        """Return the test metric of an arm by seed; empty for an arm without cells."""
        return {cell.seed: cell.test for cell in self.cells.get(arm, ())}

    def verdict(self) -> str:
        """Compare each negative control with its arm and with the method, unfavourable results first.

        Returns:
            Sentences; '' if no control has two seeds.
        """
        sentences = []
        for control, control_arm in self.negative_controls.items():
            for arm in dict.fromkeys((control_arm, self.method)):
                gain, loss = self.difference(control, arm), self.difference(arm, control)
                if gain is not None and loss is not None:
                    sentences.append((gain.low > 0, self._sentence(control, arm, gain, loss)))
        sentences.sort(key=lambda pair: pair[0])
        return ' '.join(sentence for _, sentence in sentences)

    def _sentence(self, control: str, arm: str, gain: Difference, loss: Difference) -> str:
        unit = f'points of {self._metric}'
        caveat = f'although {control} learns nothing image-specific from the teacher.'
        if gain.low > 0:
            return f'**{arm} beats {control}**, by {gain} {unit}.'
        if loss.low > 0:
            return f'**{control} beats {arm}**, by {loss} {unit}, {caveat}'
        return f'**{control} is not significantly different from {arm}**: {gain} {unit}, {caveat}'

    def table(self) -> str:
        """Return a table with a row for each arm: the columns of `test_table`, and the training."""
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
        """Return a table of the test metric: mean, standard deviation and paired differences of each arm."""
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
        # Skip seeds without a run of the baseline, which sets the target.
        epochs = [cell.run.epochs_to_hold(target[cell.seed]) for cell in cells if cell.seed in target]
        return [
            mean_and_spread([cell.run.accuracy[-1] for cell in cells]),
            _epochs_held(epochs),
            f'{np.mean([cell.run.seconds for cell in cells]):.0f}',
        ]

    def convergence(self) -> str:
        """Return the speed-up of the method over each baseline by both protocols; '' without shared seeds."""
        parts = [self._convergence_over(arm) for arm in (self.baseline, *self.further_baselines)]
        return '\n\n'.join(part for part in parts if part)

    def _convergence_over(self, arm: str) -> str:
        seeds = self._shared_seeds(self.cells.get(arm, ()), self.cells.get(self.method, ()))
        if not seeds:
            return ''
        baseline, method = (_by_seed(self.cells[name], seeds) for name in (arm, self.method))
        baseline_seconds, method_seconds = mean_teacher_seconds(baseline), mean_teacher_seconds(method)
        if len({cell.run.epochs for cell in (*baseline, *method)}) > 1:
            return f'How much sooner {self.method} is than {arm} is not told: a run lacks a validation.'
        parts = [
            f"How much sooner {self.method} holds a share of {arm}'s best, with the same "
            f'schedule; validation images, {len(seeds)} seed{"s" * (len(seeds) > 1)}.'
            f'{teacher_sentence({arm: baseline_seconds, self.method: method_seconds})}',
            same_schedule_table(
                [cell.run for cell in baseline],
                [cell.run for cell in method],
                method_seconds,
                baseline_teacher_seconds=baseline_seconds,
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
        """Return the sorted machines of all cells."""
        return sorted({cell.machine for cells in self.cells.values() for cell in cells})

    def write_csv(self, path: str | Path) -> None:
        """Write a CSV file with one line for each arm, seed and validation; the last line has the test."""
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
        """Return after - before in the test over shared seeds; None for fewer than two, or the same arm."""
        return None if before == after else paired_by_seed(self.by_seed(before), self.by_seed(after))


def read_cells(path: str | Path, metric: str) -> dict[Key, Cell]:
    """Read a file of `Study.write_csv`, by arm, seed and None.

    Args:
        path: path of the file.
        metric: name of the metric in tables.
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
    """Mean epoch from which runs hold their target, or the number of runs that hold it."""
    held = [epoch for epoch in epochs if epoch is not None]
    if len(held) < len(epochs):
        return f'{len(held)} of {len(epochs)} hold it'
    return f'{np.mean(held):.1f}' if held else '–'


def _by_seed(cells: Sequence[Cell], seeds: Sequence[int]) -> list[Cell]:
    by_seed = {cell.seed: cell for cell in cells}
    return [by_seed[seed] for seed in seeds]
