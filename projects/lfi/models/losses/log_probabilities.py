"""Log-probabilities that losses compare: affinities of locations, and how two distributions diverge."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def log_affinity(locations: Tensor, temperature: float, valid: Tensor | None = None) -> Tensor:
    """Logarithm of the affinity of each location for every other: softmax_j(cos(f_i, f_j) / temperature).

    In float32, autocast or not: in half precision cosines are too coarse for the temperature.

    Args:
        locations: (B, C, H, W), a feature map.
        temperature: above 0.
        valid: (B, H, W) bool, the locations for which others may have an affinity. Defaults to None: all.

    Returns:
        (B, H * W, H * W); -inf where j is not valid.
    """
    unit = F.normalize(locations.float().flatten(2), dim=1)  # [B, C, N]
    with torch.autocast(unit.device.type, enabled=False):
        scores = unit.mT @ unit / temperature
    if valid is not None:
        scores = scores.masked_fill(~valid.flatten(1)[:, None], float('-inf'))
    return scores.log_softmax(-1)


def kl(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """KL(teacher || student), in nats, along `dim`."""
    return (teacher.exp() * (teacher - student)).sum(dim)
