"""Features whose channels all have mean 0 and variance 1."""

from __future__ import annotations

import torch
from mmengine import dist
from torch import Tensor, nn


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
