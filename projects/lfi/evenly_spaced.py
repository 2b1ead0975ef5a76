"""Some of many things, evenly spaced."""

import numpy as np


def evenly_spaced(total: int, count: int) -> list[int]:
    """The indices of `count` of `total` things, the first and the last among them; of fewer, all."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()
