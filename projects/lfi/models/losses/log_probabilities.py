"""Log-affinities of locations, and the KL divergence of log-probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def log_affinity(locations: Tensor, temperature: float, valid: Tensor | None = None) -> Tensor:
    """Compute log softmax_j(cos(f_i, f_j) / temperature) over the locations of a feature map, in float32.

    Autocast does not apply: cosines in half precision are too coarse for the temperature.

    Args:
        locations: (B, C, H, W), feature map.
        temperature: softmax temperature, above 0.
        valid: (B, H, W) bool, locations j that take part. Defaults to None: all.

    Returns:
        Log-affinities (B, H * W, H * W); -inf where j is not valid.
    """
    unit = F.normalize(locations.float().flatten(2), dim=1)  # [B, C, N]
    with torch.autocast(unit.device.type, enabled=False):
        scores = unit.mT @ unit / temperature
    if valid is not None:
        scores = scores.masked_fill(~valid.flatten(1)[:, None], float('-inf'))
    return scores.log_softmax(-1)


def kl(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Compute KL(teacher || student) of log-probabilities along `dim`, in nats."""
    return (teacher.exp() * (teacher - student)).sum(dim)
