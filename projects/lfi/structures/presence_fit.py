"""Logistic correction of presence, so that a presence of 0.2 is right once in five answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

# Presence is clamped this far from 0 and 1, where its logit is infinite.
MARGIN = 1e-6


def fitted_presence(presence: Tensor, fit: Sequence[float]) -> Tensor:
    """Return sigmoid(scale * logit(presence) + offset) (Platt, 1999).

    Args:
        presence: in [0, 1], of any shape.
        fit: scale and offset. A positive scale keeps the order.
    """
    scale, offset = fit
    return (scale * presence.logit(eps=MARGIN) + offset).sigmoid()


def check_presence_fit(fit: Sequence[float]) -> tuple[float, float]:
    """Return a fit as a tuple.

    Raises:
        ValueError: if it is not a positive scale and an offset, both finite.
    """
    numbers = tuple(fit) if isinstance(fit, Sequence) else ()
    if (
        len(numbers) != 2
        or not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        or numbers[0] <= 0
    ):
        raise ValueError(f'presence_fit={fit!r} must be two numbers, a scale above 0 and an offset')
    return numbers[0], numbers[1]
