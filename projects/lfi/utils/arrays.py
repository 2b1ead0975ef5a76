"""Arrays: evenly spaced indices, and memory that processes share."""

import mmap

import numpy as np
import numpy.typing as npt


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return `count` evenly spaced indices below `total`, with both ends; all indices if there are fewer."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()


class SharedArray:
    """A zero-filled array in anonymous shared memory; pages are allocated when they are written.

    Forked workers share their writes, across epochs. A pickled copy (spawned workers) and a deep copy start
    empty, so that only values that can be computed again belong here.

    Args:
        length: number of items.
        dtype: NumPy dtype of an item; may be structured.

    Attributes:
        array: (length,), the array.
    """

    def __init__(self, length: int, dtype: npt.DTypeLike) -> None:
        self.length, self.dtype = length, np.dtype(dtype)
        memory = mmap.mmap(-1, max(1, length * self.dtype.itemsize))
        self.array = np.frombuffer(memory, dtype=self.dtype, count=length)

    def __reduce__(self) -> tuple:
        return type(self), (self.length, self.dtype)
