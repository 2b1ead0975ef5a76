"""Training runs, read from the logs of MMEngine."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from lfi.engine.scalars import read_scalars
from lfi.utils import markdown
from mmengine.logging import print_log

# Names of validation metrics in tables, and factors to per cent.
METRICS = {
    'accuracy/top1': ('top-1', 1),
    'coco/bbox_mAP': ('box AP', 100),
    'coco/segm_mAP': ('mask AP', 100),
    'mIoU': ('mIoU', 1),
    'knn/top1': ('top-1 by nearest neighbours', 1),
    'start/knn/top1': ('top-1 by nearest neighbours', 1),
    'start/linear/top1': ('top-1 by a linear probe', 1),
}


@dataclass(frozen=True)
class Run:
    """Training run.

    Args:
        name: name in tables.
        accuracy: metric of each validation, in per cent.
        seconds: training time without validation, from the logged times of iterations.
        losses: mean of each loss term by epoch.
        metric: name of the metric in tables. Defaults to 'top-1'.
        epochs: epoch of each validation, or iteration if the schedule counts iterations. Defaults to one
            validation after each epoch.
        folder: folder of the log. Defaults to None, for published runs.

    Raises:
        ValueError: if the numbers of epochs and validations differ.
    """

    name: str
    accuracy: tuple[float, ...]
    seconds: float
    losses: dict[str, dict[int, float]]
    metric: str = 'top-1'
    epochs: tuple[int, ...] = ()
    folder: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.epochs:
            object.__setattr__(self, 'epochs', tuple(range(1, len(self.accuracy) + 1)))
        if len(self.epochs) != len(self.accuracy):
            raise ValueError(f'{self.name}: {len(self.accuracy)} validations at {len(self.epochs)} epochs')

    @property
    def best(self) -> float:
        """Highest accuracy of all validations, without NaN."""
        return max((value for value in self.accuracy if not math.isnan(value)), default=math.nan)

    @property
    def length(self) -> int:
        """Epoch of the last validation."""
        return self.epochs[-1]

    def epochs_to_hold(self, target: float) -> int | None:
        """Return the epoch from which all validations reach the target, or None."""
        held = None
        for epoch, value in zip(reversed(self.epochs), reversed(self.accuracy)):
            # Negated, so that NaN does not reach the target.
            if not value >= target:
                break
            held = epoch
        return held

    def seconds_until(self, epoch: int) -> float:
        """Return the training time up to the end of an epoch."""
        return self.seconds * epoch / self.length


def read_run(work_dir: str | Path, name: str | None = None, metric: str = 'accuracy/top1') -> Run:
    """Read a run from the scalars of MMEngine in its work dir, including resumed parts.

    Args:
        work_dir: folder of the run.
        name: name in tables. Defaults to the name of the folder.
        metric: name of the validation metric in the log. Defaults to 'accuracy/top1'.

    Raises:
        FileNotFoundError: if the folder has no scalars.
        ValueError: if the scalars have no value of the metric, or one that is not a number.
    """
    work_dir = Path(work_dir)
    if not any(work_dir.glob('*/vis_data/scalars.json')):
        raise FileNotFoundError(f'{work_dir} holds no run: there is no */vis_data/scalars.json in it')
    # A resumed run logs to a new folder and may repeat steps. The later value counts.
    train, accuracy = {}, {}
    for row in read_scalars(work_dir):
        if metric in row:
            accuracy[row['step']] = row[metric]
        elif 'loss' in row:
            train[row['step']] = row
    if not accuracy:
        raise ValueError(f'the scalars of {work_dir} hold no {metric}')
    for step, value in accuracy.items():
        if not isinstance(value, int | float):
            raise ValueError(
                f'the scalars of {work_dir} hold {metric}={value!r} at step {step}: not a number'
            )
    steps = sorted(accuracy)
    if steps == [0] and max(train, default=0):
        raise ValueError(
            f'the scalars of {work_dir} hold {metric} at step 0 alone: for a schedule by iterations set '
            'default_hooks.logger.log_metric_by_epoch=False, as `lfi train` does'
        )
    # The last validation follows the last epoch, at any interval.
    gaps = [after - before for before, after in pairwise(steps)]
    interval = min(gaps[:-1] or [max(steps[0], 1)])
    missing = sorted(set(range(interval, steps[-1], interval)) - set(steps))
    if missing:
        print_log(
            f'{work_dir} holds no {metric} at step {", ".join(map(str, missing))}: curves and tables lack '
            'this validation',
            'current',
            logging.WARNING,
        )
    values = tuple(in_per_cent(metric, accuracy[step]) for step in steps)
    name = name or work_dir.name
    losses, metric = _losses(train, steps), metric_name(metric)
    return Run(name, values, _seconds(train), losses, metric, tuple(steps), work_dir)


def metric_name(metric: str) -> str:
    """Return the name in tables of a metric of the log."""
    return _metric_spec(metric)[0]


def in_per_cent(metric: str, value: float) -> float:
    """Convert the value of a metric of the log to per cent. Unknown metrics are not scaled.

    COCO's value of -1, for a lack of objects, becomes NaN.
    """
    return math.nan if metric.startswith('coco/') and value < 0 else value * _metric_spec(metric)[1]


def _metric_spec(metric: str) -> tuple[str, int]:
    # COCO's precisions are fractions.
    return METRICS.get(metric, (metric, 100 if metric.startswith('coco/') else 1))


def markdown_table(runs: Sequence[Run]) -> str:
    """Table of runs against the first, the baseline: accuracy, epochs to the baseline's best, seconds."""
    baseline = runs[0]
    titles = (
        'run',
        f'{baseline.metric}, last epoch',
        f'{baseline.metric}, best',
        f'epochs to hold {baseline.best:.1f}',
        'training seconds',
    )
    rows = []
    for run in runs:
        epochs = run.epochs_to_hold(baseline.best)
        reached = f'{epochs} of {run.length}' if epochs else 'not held'
        rows.append([run.name, f'{run.accuracy[-1]:.1f}', f'{run.best:.1f}', reached, f'{run.seconds:.0f}'])
    return markdown.table(titles, rows)


def epoch_table(run: Run) -> str:
    """Table with a row for each epoch: mean of each loss term, and the accuracy of validated epochs."""
    terms = list(run.losses)
    accuracy = dict(zip(run.epochs, run.accuracy))
    epochs = sorted(accuracy.keys() | {epoch for by_epoch in run.losses.values() for epoch in by_epoch})
    rows = []
    for epoch in epochs:
        values = [f'{run.losses[term][epoch]:.3f}' if epoch in run.losses[term] else '–' for term in terms]
        values.append(f'{accuracy[epoch]:.2f}' if epoch in accuracy else '–')
        rows.append([epoch, *values])
    return markdown.table(['epoch', *terms, run.metric], rows)


def _losses(train: dict[int, dict], validations: Sequence[int]) -> dict[str, dict[int, float]]:
    """Mean of each loss term by epoch, or between validations if the schedule counts iterations."""
    losses: dict[str, dict[int, list[float]]] = {}
    for step, row in sorted(train.items()):
        later_validations = (validation for validation in validations if validation >= step)
        epoch = row['epoch'] if 'epoch' in row else next(later_validations, step)
        for term in (key for key in row if 'loss' in key):
            losses.setdefault(term, {}).setdefault(epoch, []).append(row[term])
    return {
        term: {epoch: _mean(values) for epoch, values in by_epoch.items()}
        for term, by_epoch in sorted(losses.items())
    }


def _seconds(train: dict[int, dict]) -> float:
    # The logged mean time of the last ten iterations stands for all iterations since the row before.
    steps = sorted(train)
    return sum((step - before) * train[step]['time'] for before, step in zip([0, *steps], steps))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
