"""Means over the batches of all processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine import dist
from torch import Tensor


def shared_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of values; 0 where nothing has a weight.

    In a run of several processes the sum of the weights is the mean of their sums, so that the mean of the
    processes' gradients is that of one batch: each divided by its own, a process with few labels would count
    as much as one with many. All processes must call it alike.

    Args:
        values: of any shape.
        weights: not negative, of a shape that goes with that of the values.
    """
    return (values * weights).sum() / _mean_of_processes(weights.detach().sum().float())


def as_of_one_batch(losses: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Weigh the losses of a process by its images, as `shared_mean` does for losses that are means already.

    All processes must call it alike. Where each has as many images, and in one process, nothing changes.

    Args:
        losses: means over a process's images, or lists of such; what has no 'loss' in its name stays.
        count: of how many images they are means.
    """
    if dist.get_world_size() == 1:
        return dict(losses)
    device = next(_first(value) for name, value in losses.items() if 'loss' in name).device
    share = count / _mean_of_processes(torch.full((), float(count), device=device))
    return {name: _times(value, share) if 'loss' in name else value for name, value in losses.items()}


def _mean_of_processes(total: Tensor) -> Tensor:
    """The mean of all processes' totals, which may be 0: as what divides."""
    if dist.get_world_size() > 1:
        dist.all_reduce(total, 'mean')
    return total.clamp_min(1e-6)


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, list | tuple) else value


def _times(value: Any, share: Tensor) -> Any:
    return [each * share for each in value] if isinstance(value, list | tuple) else value * share
