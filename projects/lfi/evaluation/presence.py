"""How well presence tells the concepts that an image shows from those it does not."""

from __future__ import annotations

import torch
from torch import Tensor

from .localization import average_precision
from .pointing_game import check_finite


def presence_quality(presence: Tensor, visible: Tensor) -> dict[str, float | None]:
    """Compare presence with what can be seen, over all pairs of an image and a concept together.

    Args:
        presence: (N,) float in [0, 1], of N pairs.
        visible: (N,) bool, whether the image shows the concept; at least one does.

    Returns:
        - 'precision': the share of visible ones among the pairs of a presence of at least 0.5, None where
          there are none;
        - 'recall': the share of such pairs among the visible ones;
        - 'average_precision': of presence as a ranking; by chance the visible share;
        - 'brier': the Brier score, the mean squared difference from 1 or 0; 0 is best.

    Raises:
        ValueError: if no concept is visible, or presence is not finite.
    """
    check_finite(presence, 'presence')
    if not visible.any():
        raise ValueError('visible: no image shows any of the concepts')
    found = presence >= 0.5
    hits = (found & visible).sum()
    return {
        'precision': (hits / found.sum()).item() if found.any() else None,
        'recall': (hits / visible.sum()).item(),
        'average_precision': average_precision(presence[None], visible[None]).item(),
        'brier': (presence - visible.to(presence)).square().mean(dtype=torch.float64).item(),
    }
