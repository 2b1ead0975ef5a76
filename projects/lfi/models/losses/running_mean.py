"""Means over all that a training run has seen."""

from __future__ import annotations

from typing import Any

import torch
from mmengine import dist
from torch import Tensor, nn


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
