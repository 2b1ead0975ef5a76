"""What a loss may weigh."""

from __future__ import annotations


def check_weights(**weights: object) -> None:
    """Raise a ValueError that names the first weight that is no number of 0 or more."""
    for name, weight in weights.items():
        if not isinstance(weight, int | float) or not 0 <= weight < float('inf'):
            raise ValueError(f'{name}={weight!r} must be a number of 0 or more')
