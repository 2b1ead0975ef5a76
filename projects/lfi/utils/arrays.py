"""Arrays: evenly spaced indices, and memory that processes share."""

import mmap

import numpy as np
import numpy.typing as npt


def evenly_spaced(total: int, count: int) -> list[int]:
    """The indices of `count` of `total` things, the first and the last among them; of fewer, all."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()


class SharedArray:
    """A zero-filled array in anonymous shared memory; pages are taken only when they are written.

    Workers that are forked see and keep what any of them writes, across epochs. A pickled copy (workers that
    are spawned) and a deep copy start empty: what is kept here must be possible to make again.

    Args:
        length: Number of items.
        dtype: NumPy dtype of an item; may be structured.

    Attributes:
        array (np.ndarray): Shape (length,).
    """

    def __init__(self, length: int, dtype: npt.DTypeLike) -> None:
        self.length, self.dtype = length, np.dtype(dtype)
        memory = mmap.mmap(-1, max(1, length * self.dtype.itemsize))
        self.array = np.frombuffer(memory, dtype=self.dtype, count=length)

    def __reduce__(self) -> tuple:
        return type(self), (self.length, self.dtype)
