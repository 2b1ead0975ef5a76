"""Means over the processes of a run, and running means over its training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine import dist
from torch import Tensor, nn


def shared_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of values over a batch, 0 if all weights are 0.

    With several processes, the divisor is the mean of the processes' sums of weights, so that averaged
    gradients equal those of one joined batch. With a divisor per process, a process with few labels would
    count as much as one with many. All processes must call this function.

    Args:
        values: values of any shape.
        weights: non-negative weights, broadcastable to the values.
    """
    return (values * weights).sum() / _mean_of_processes(weights.detach().sum().float())


def scale_to_joined_batch(losses: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Scale the mean losses of a process so that averaged gradients equal those of one joined batch.

    This is `shared_mean` for losses that are means already. In one process, or with equal counts, losses do
    not change. All processes must call this function.

    Args:
        losses: means over the images of a process, or lists of means. Entries without 'loss' in their name
            stay unchanged.
        count: number of images in the means.
    """
    if dist.get_world_size() == 1:
        return dict(losses)
    device = next(_first(value) for name, value in losses.items() if 'loss' in name).device
    share = count / _mean_of_processes(torch.full((), float(count), device=device))
    return {name: _times(value, share) if 'loss' in name else value for name, value in losses.items()}


def _mean_of_processes(total: Tensor) -> Tensor:
    """Mean of a total over processes, clamped above 0 for division."""
    if dist.get_world_size() > 1:
        dist.all_reduce(total, 'mean')
    return total.clamp_min(1e-6)


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, list | tuple) else value


def _times(value: Any, share: Tensor) -> Any:
    return [loss * share for loss in value] if isinstance(value, list | tuple) else value * share


class RunningMean(nn.Module):
    """Elementwise weighted mean of all batches added so far, in float32.

    The first batch sets the shape. Checkpoints store the mean, so that a resumed run continues with it. With
    several processes, all of them share one mean. The mean is not a buffer: averaged copies of a model
    (EMA) pair buffers by order, and a buffer that is added later would shift all others.
    """

    _device: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._mean: Tensor | None = None
        self._weight: Tensor | None = None
        # Tracks the device of the model.
        self.register_buffer('_device', torch.zeros(()), persistent=False)

    @property
    def mean(self) -> Tensor:
        """Mean so far, 0 where all weights were 0.

        Raises:
            RuntimeError: if no batch was added.
        """
        if self._mean is None:
            raise RuntimeError('the running mean is empty: add a batch first')
        return self._mean.to(self._device.device)

    def add(self, total: Tensor, weight: Tensor) -> None:
        """Add a batch. All processes must call this method.

        Args:
            total: weighted sum of the batch's values, float32, of any shape.
            weight: sum of the weights, broadcastable to `total`.

        Raises:
            ValueError: if `total` has another shape than earlier batches.
        """
        # Never in place: the graph of an earlier step may still hold the old tensors.
        total, weight = total.detach().clone(), weight.detach().clone()
        dist.all_reduce(total, 'sum')
        dist.all_reduce(weight, 'sum')
        if self._mean is None or self._weight is None:
            self._mean, self._weight = torch.zeros_like(total), torch.zeros_like(weight)
        if self._mean.shape != total.shape:
            raise ValueError(
                f'a mean of shape {tuple(self._mean.shape)} got a batch of shape {tuple(total.shape)}: give '
                'all images the same size'
            )
        mean = self._mean.to(total.device)
        self._weight = self._weight.to(total.device) + weight
        self._mean = mean + (total - weight * mean) / self._weight.clamp_min(1e-12)

    def reset_statistics(self) -> None:
        """Remove all batches."""
        self._mean = self._weight = None

    def snapshot(self) -> tuple[Tensor | None, Tensor | None]:
        """Mean and weight so far, for `restore_snapshot`. `add` never changes these tensors in place."""
        return self._mean, self._weight

    def restore_snapshot(self, snapshot: tuple[Tensor | None, Tensor | None]) -> None:
        """Restore the mean and weight of a snapshot."""
        self._mean, self._weight = snapshot

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        # There is nothing to store before the first batch.
        if self._mean is not None:
            destination.update({f'{prefix}_mean': self._mean, f'{prefix}_weight': self._weight})

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name in ('_mean', '_weight'):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, stored.detach().clone())


class ChannelStandardisation(nn.Module):
    """Standardisation of each channel by its mean and standard deviation over all training features so far.

    The statistics are cumulative, not moving averages. Over the epochs they approach those of the training
    set, which Theia (Shang et al., CoRL 2024) computes in a separate pass. This is the simple method of
    section 2 of PHI-S (Ranzinger et al., 2024), without rotation or whitening. Checkpoints store the
    statistics. With several processes, the statistics cover all of them.

    Args:
        channels: C, number of channels.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(channels))
        self.register_buffer('variance', torch.ones(channels))
        self.register_buffer('count', torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features (..., C), float32. In training, first add them to the statistics."""
        if self.training:
            self._add(features.detach().flatten(0, -2))
        return (features - self.mean) / (self.variance.sqrt() + 1e-6)

    def reset_statistics(self) -> None:
        """Remove all features."""
        self.mean.zero_()
        self.variance.fill_(1)
        self.count.zero_()

    def _add(self, rows: Tensor) -> None:
        """Merge the moments of rows (N, C) into the statistics (Chan et al., 1979)."""
        count = _sum_of_processes(rows.new_ones(len(rows)))
        mean = _sum_of_processes(rows) / count
        variance = _sum_of_processes((rows - mean).square()) / count
        total = self.count + count
        share = count / total
        shift = mean - self.mean
        self.variance = (1 - share) * self.variance + share * variance + share * (1 - share) * shift.square()
        self.mean = self.mean + share * shift
        self.count = total


def _sum_of_processes(rows: Tensor) -> Tensor:
    """Sum over rows and processes."""
    total = rows.sum(0)
    dist.all_reduce(total, 'sum')
    return total
