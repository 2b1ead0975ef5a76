"""Means over the batches of all processes."""

from __future__ import annotations

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
    total = weights.detach().sum().float()
    if dist.get_world_size() > 1:
        dist.all_reduce(total, 'mean')
    return (values * weights).sum() / total.clamp_min(1e-6)
