"""What MMEngine's logs say of a training run."""

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

# Validation metrics as the tables call them, and what makes them per cent.
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
    """One training run.

    Args:
        name: as the tables call it.
        accuracy: the metric of each validation, in per cent.
        seconds: training time, validation left out, from the log's samples of an iteration's time.
        losses: mean of each logged loss term in each epoch, by the epoch's number.
        metric: as the tables call it.
        epochs: the epoch after which each validation took place; the iteration, where a schedule counts
            iterations. Defaults to one validation after every epoch.
        folder: where its log is. Defaults to none, as of a run that was published.

    Raises:
        ValueError: if there are not as many epochs as validations.
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
        """The highest accuracy of any validation that is a number."""
        return max((value for value in self.accuracy if not math.isnan(value)), default=math.nan)

    @property
    def length(self) -> int:
        """The epoch of the last validation."""
        return self.epochs[-1]

    def epochs_to_hold(self, target: float) -> int | None:
        """The epoch at which the run reaches the target and stays there to the end, or None."""
        held = None
        for epoch, value in zip(reversed(self.epochs), reversed(self.accuracy)):
            # What is not a number holds nothing.
            if not value >= target:
                break
            held = epoch
        return held

    def seconds_until(self, epoch: int) -> float:
        """Training time up to the end of an epoch."""
        return self.seconds * epoch / self.length


def read_run(work_dir: str | Path, name: str | None = None, metric: str = 'accuracy/top1') -> Run:
    """Read a run from the scalars that MMEngine wrote in its work dir, resumed parts included.

    Args:
        work_dir: the run's folder.
        name: Defaults to the folder's name.
        metric: the validation metric, by its name in the log.

    Raises:
        FileNotFoundError: if the folder has no scalars.
        ValueError: if they hold no value of the metric, or one that is not a number.
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
    for step, value in accuracy.items():
        if not isinstance(value, int | float):
            raise ValueError(f'the scalars of {work_dir} hold {metric}={value!r} of step {step}: no number')
    steps = sorted(accuracy)
    if steps == [0] and max(train, default=0):
        raise ValueError(
            f'the scalars of {work_dir} hold {metric} at step 0 alone: a schedule by iterations logs it with '
            'its iteration by default_hooks.logger.log_metric_by_epoch=False, as `lfi train` sets it'
        )
    # The last validation is due after the last epoch, whatever the interval.
    gaps = [after - before for before, after in pairwise(steps)]
    interval = min(gaps[:-1] or [max(steps[0], 1)])
    missing = sorted(set(range(interval, steps[-1], interval)) - set(steps))
    if missing:
        print_log(
            f'{work_dir} holds no {metric} of step {", ".join(map(str, missing))}: the validation is missing '
            'in curves and tables',
            'current',
            logging.WARNING,
        )
    values = tuple(in_per_cent(metric, accuracy[step]) for step in steps)
    name = name or work_dir.name
    losses, metric = _losses(train, steps), metric_name(metric)
    return Run(name, values, _seconds(train), losses, metric, tuple(steps), work_dir)


def metric_name(metric: str) -> str:
    """How the tables call a metric of the log."""
    return _of(metric)[0]


def in_per_cent(metric: str, value: float) -> float:
    """A metric's value in per cent, by its name in the log; unknown ones are left as they are.

    COCO's evaluation says -1 where there are no such objects, which is no number here.
    """
    return math.nan if metric.startswith('coco/') and value < 0 else value * _of(metric)[1]


def _of(metric: str) -> tuple[str, int]:
    # COCO's precisions are shares.
    return METRICS.get(metric, (metric, 100 if metric.startswith('coco/') else 1))


def markdown_table(runs: Sequence[Run]) -> str:
    """Compare runs with the first, the baseline: accuracy, epochs to the baseline's best, seconds."""
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
    """One row for each epoch: the mean of each loss term, and the accuracy where it was validated."""
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
    """Mean of each loss term by epoch; up to each validation, where a schedule counts iterations."""
    found: dict[str, dict[int, list[float]]] = {}
    for step, row in sorted(train.items()):
        following = (at for at in validations if at >= step)
        epoch = row['epoch'] if 'epoch' in row else next(following, step)
        for term in (key for key in row if 'loss' in key):
            found.setdefault(term, {}).setdefault(epoch, []).append(row[term])
    return {
        term: {epoch: _mean(values) for epoch, values in by_epoch.items()}
        for term, by_epoch in sorted(found.items())
    }


def _seconds(train: dict[int, dict]) -> float:
    # A row's time of an iteration is the mean of the last ten, and stands for all since the row before it.
    steps = sorted(train)
    return sum((step - before) * train[step]['time'] for before, step in zip([0, *steps], steps))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
