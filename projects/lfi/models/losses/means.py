"""Means over the processes of a run, and running means over its training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine import dist
from torch import Tensor, nn


def shared_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Compute the weighted mean of values over a batch; 0 if all weights are 0.

    With several processes the divisor is the mean of their sums of weights. The averaged gradients then equal
    those of one joined batch; with divisors of their own a process with few labels would count as much as one
    with many. All processes must call it.

    Args:
        values: values of any shape.
        weights: weights of 0 or more, broadcastable to the values.
    """
    return (values * weights).sum() / _mean_of_processes(weights.detach().sum().float())


def as_of_one_batch(losses: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Scale the mean losses of a process so that averaged gradients equal those of one joined batch.

    It is `shared_mean` for losses that are means already. In one process, or with equal counts, nothing
    changes. All processes must call it.

    Args:
        losses: means over the images of a process, or lists of such. Entries without 'loss' in their name
            stay.
        count: number of images that the means are over.
    """
    if dist.get_world_size() == 1:
        return dict(losses)
    device = next(_first(value) for name, value in losses.items() if 'loss' in name).device
    share = count / _mean_of_processes(torch.full((), float(count), device=device))
    return {name: _times(value, share) if 'loss' in name else value for name, value in losses.items()}


def _mean_of_processes(total: Tensor) -> Tensor:
    """Mean of a total over processes, clamped to be a divisor."""
    if dist.get_world_size() > 1:
        dist.all_reduce(total, 'mean')
    return total.clamp_min(1e-6)


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, list | tuple) else value


def _times(value: Any, share: Tensor) -> Any:
    return [each * share for each in value] if isinstance(value, list | tuple) else value * share


class RunningMean(nn.Module):
    """The weighted mean of everything that it was given, entry by entry; in float32.

    It takes the shape of what it sees first. Checkpoints keep it, so that a resumed run goes on with it. In a
    run of several processes it is the mean over all of them. It is no buffer: averaged copies of a model
    (EMA) pair buffers by their order, in which one that comes later moves all others.
    """

    _device: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._mean: Tensor | None = None
        self._weight: Tensor | None = None
        # It says where the model is.
        self.register_buffer('_device', torch.zeros(()), persistent=False)

    @property
    def mean(self) -> Tensor:
        """The mean so far; 0 where nothing had a weight.

        Raises:
            RuntimeError: if nothing was added.
        """
        if self._mean is None:
            raise RuntimeError('there is no mean of nothing: add a batch first')
        return self._mean.to(self._device.device)

    def add(self, total: Tensor, weight: Tensor) -> None:
        """Add a batch; all processes must call it alike.

        Args:
            total: sum over the batch of its values by their weights, float32, of any shape.
            weight: sum of the weights, of a shape that broadcasts against that of `total`.

        Raises:
            ValueError: if earlier batches had another shape.
        """
        # New tensors each time: an earlier step's graph may still hold the old ones.
        total, weight = total.detach().clone(), weight.detach().clone()
        dist.all_reduce(total, 'sum')
        dist.all_reduce(weight, 'sum')
        if self._mean is None or self._weight is None:
            self._mean, self._weight = torch.zeros_like(total), torch.zeros_like(weight)
        if self._mean.shape != total.shape:
            raise ValueError(
                f'a mean of shape {tuple(self._mean.shape)} got a batch of shape {tuple(total.shape)}: all '
                'images must have one size'
            )
        mean = self._mean.to(total.device)
        self._weight = self._weight.to(total.device) + weight
        self._mean = mean + (total - weight * mean) / self._weight.clamp_min(1e-12)

    def snapshot(self) -> tuple[Tensor | None, Tensor | None]:
        """What it knows, for `restore_snapshot`; `add` changes no tensor of it."""
        return self._mean, self._weight

    def restore_snapshot(self, snapshot: tuple[Tensor | None, Tensor | None]) -> None:
        """Forget all that was added since."""
        self._mean, self._weight = snapshot

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        # Before the first batch a checkpoint need not have anything of it.
        if self._mean is not None:
            destination.update({f'{prefix}_mean': self._mean, f'{prefix}_weight': self._weight})

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name in ('_mean', '_weight'):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, stored.detach().clone())


class ChannelStandardisation(nn.Module):
    """Standardises each channel by its mean and standard deviation over all that training has seen.

    Both are cumulative and not a moving average: with the epochs they become those of the training set, which
    Theia (Shang et al., CoRL 2024) computes in a pass of its own. Of the ways in section 2 of PHI-S
    (Ranzinger et al., 2024) it is the simple one, without rotation or whitening. Checkpoints keep the
    statistics. In a run of several processes they are those of all processes.

    Args:
        channels: C.
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
        """Standardise features (..., C), float32; in training they count in the statistics first."""
        if self.training:
            self._add(features.detach().flatten(0, -2))
        return (features - self.mean) / (self.variance.sqrt() + 1e-6)

    def _add(self, rows: Tensor) -> None:
        """Merge the moments of rows (N, C) into those so far (Chan et al., 1979)."""
        count = _summed(rows.new_ones(len(rows)))
        mean = _summed(rows) / count
        variance = _summed((rows - mean).square()) / count
        total = self.count + count
        share = count / total
        shift = mean - self.mean
        self.variance = (1 - share) * self.variance + share * variance + share * (1 - share) * shift.square()
        self.mean = self.mean + share * shift
        self.count = total


def _summed(rows: Tensor) -> Tensor:
    """The sum over rows and over processes."""
    total = rows.sum(0)
    dist.all_reduce(total, 'sum')
    return total
