"""What MMEngine's logs say of a training run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mmengine.logging import print_log

from lfi.engine.scalars import read_scalars

# Validation metrics as the tables call them, and what makes them per cent.
METRICS = {
    'accuracy/top1': ('top-1', 1),
    'coco/bbox_mAP': ('box AP', 100),
    'coco/segm_mAP': ('mask AP', 100),
    'mIoU': ('mIoU', 1),
}


@dataclass(frozen=True)
class Run:
    """One training run.

    Args:
        name: as the tables call it.
        accuracy: the metric after each epoch, from the first on, in per cent.
        seconds: training time, validation left out, from the log's samples of an iteration's time.
        losses: mean of each logged loss term in each epoch.
        metric: as the tables call it.
    """

    name: str
    accuracy: tuple[float, ...]
    seconds: float
    losses: dict[str, tuple[float, ...]]
    metric: str = 'top-1'

    @property
    def best(self) -> float:
        """The highest accuracy of any epoch."""
        return max(self.accuracy)

    def epochs_to_hold(self, target: float) -> int | None:
        """The epoch at which the run reaches the target and stays there to the end, or None."""
        below = [epoch for epoch, value in enumerate(self.accuracy, 1) if value < target]
        first = below[-1] + 1 if below else 1
        return first if first <= len(self.accuracy) else None


def read_run(work_dir: str | Path, name: str | None = None, metric: str = 'accuracy/top1') -> Run:
    """Read a run from the scalars that MMEngine wrote in its work dir, resumed parts included.

    Args:
        work_dir: the run's folder.
        name: Defaults to the folder's name.
        metric: the validation metric, by its name in the log.

    Raises:
        FileNotFoundError: if the folder has no scalars.
        ValueError: if they hold no value of the metric.
    """
    work_dir = Path(work_dir)
    if not any(work_dir.glob('*/vis_data/scalars.json')):
        raise FileNotFoundError(f'{work_dir} holds no run: there is no */vis_data/scalars.json in it')
    # A resumed run logs into a new folder and may repeat steps: the later word counts.
    train, accuracy = {}, {}
    for row in read_scalars(work_dir):
        if metric in row:
            accuracy[row['step']] = row[metric]
        elif 'loss' in row:
            train[row['step']] = row
    if not accuracy:
        raise ValueError(f'the scalars of {work_dir} hold no {metric}')
    epochs = sorted({row['epoch'] for row in train.values()})
    terms = sorted({key for row in train.values() for key in row if 'loss' in key})
    losses = {
        term: tuple(
            _mean([row[term] for row in train.values() if row['epoch'] == epoch and term in row])
            for epoch in epochs
        )
        for term in terms
    }
    steps = sorted(accuracy)
    interval = min((after - before for before, after in pairwise(steps)), default=steps[0])
    missing = sorted(set(range(interval, steps[-1], interval)) - set(steps))
    if missing:
        print_log(
            f'{work_dir} holds no {metric} of step {", ".join(map(str, missing))}: later ones count too low',
            'current',
            logging.WARNING,
        )
    values = tuple(in_per_cent(metric, accuracy[step]) for step in steps)
    return Run(name or work_dir.name, values, _seconds(train), losses, metric_name(metric))


def metric_name(metric: str) -> str:
    """How the tables call a metric of the log."""
    return METRICS.get(metric, (metric, 1))[0]


def in_per_cent(metric: str, value: float) -> float:
    """A metric's value in per cent, by its name in the log; unknown ones are left as they are."""
    return value * METRICS.get(metric, (metric, 1))[1]


def markdown_table(runs: Sequence[Run]) -> str:
    """Compare runs with the first, the baseline: accuracy, epochs to the baseline's best, seconds."""
    baseline = runs[0]
    lines = [
        f'| run | {baseline.metric}, last epoch | {baseline.metric}, best '
        f'| epochs to hold {baseline.best:.1f} | training seconds |',
        '| --- | --- | --- | --- | --- |',
    ]
    for run in runs:
        epochs = run.epochs_to_hold(baseline.best)
        reached = f'{epochs} of {len(run.accuracy)}' if epochs else 'not held'
        lines.append(
            f'| {run.name} | {run.accuracy[-1]:.1f} | {run.best:.1f} | {reached} | {run.seconds:.0f} |'
        )
    return '\n'.join(lines)


def epoch_table(run: Run) -> str:
    """One row an epoch: the mean of each loss term, and the accuracy after it."""
    terms = list(run.losses)
    lines = [
        '| epoch | ' + ' | '.join(terms) + f' | {run.metric} |',
        '| --- ' * (len(terms) + 2) + '|',
    ]
    for i, accuracy in enumerate(run.accuracy):
        values = ' | '.join(f'{run.losses[term][i]:.3f}' for term in terms)
        lines.append(f'| {i + 1} | {values} | {accuracy:.2f} |')
    return '\n'.join(lines)


def _seconds(train: dict[int, dict]) -> float:
    # A row's time of an iteration is the mean of the last ten, and stands for all since the row before it.
    steps = sorted(train)
    return sum((step - before) * train[step]['time'] for before, step in zip([0, *steps], steps))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
