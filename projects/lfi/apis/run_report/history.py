"""Losses and validation metrics of a run by epoch or iteration, from its log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from mmengine.config import Config

from lfi.engine.scalars import NOT_METRICS, read_scalars

Curve = Mapping[int, float]
"""Values by epoch or iteration, ascending."""


@dataclass(frozen=True)
class History:
    """Curves of a run.

    Args:
        unit: 'epoch' or 'iteration'.
        losses: curve of each loss by name, the total first. A value by epoch is the mean of the logged ones.
        metrics: curve of each validation metric by name, that of the best checkpoint first.
    """

    unit: str
    losses: Mapping[str, Curve]
    metrics: Mapping[str, Curve]

    @property
    def main(self) -> tuple[str, Curve] | None:
        """Name and curve of the metric of the best checkpoint, or of the first logged; None without one."""
        return next(iter(self.metrics.items()), None)


def read_history(folder: Path, config: Config) -> History:
    """Read the curves of a run, and of the runs that it resumed.

    Args:
        folder: folder of the run.
        config: its config.
    """
    schedule = config.get('train_cfg') or {}
    by_epoch = schedule.get('by_epoch', 'max_epochs' in schedule)
    losses: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    metrics: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for row in read_scalars(folder):
        # `log_with_hierarchy` writes train/loss and val/...
        names = {key.removeprefix('train/'): value for key, value in row.items()}
        is_training = 'loss' in names
        step = names.get('epoch' if by_epoch and is_training else 'step')
        if step is None:
            continue
        for name, value in names.items():
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if is_training and 'loss' in name:
                losses[name][step].append(value)
            elif not is_training and name.removeprefix('val/') not in NOT_METRICS:
                # A resumed run may repeat a validation: the later one counts.
                metrics[name.removeprefix('val/')][step] = value
    means = {name: {step: fmean(values) for step, values in curve.items()} for name, curve in losses.items()}
    best = _best_metric(config)
    return History(
        'epoch' if by_epoch else 'iteration',
        dict(sorted(means.items(), key=lambda item: item[0] != 'loss')),
        {
            name: dict(sorted(curve.items()))
            for name, curve in sorted(metrics.items(), key=lambda item: item[0] != best)
        },
    )


def lower_is_better(metric: str) -> bool:
    """Whether a lower value of a metric is better, by the rule of MMEngine's `CheckpointHook`."""
    return 'loss' in metric


def _best_metric(config: Config) -> str | None:
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    names: Any = hook.get('save_best')
    return next(iter(names), None) if isinstance(names, list | tuple) else names
