"""The C library's allocator, set for training on the CPU."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
GIB = 1 << 30


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of freed memory for its next step.

    glibc returns large blocks to the system at once. Each training step frees and allocates the same hundreds
    of MiB, and in ours that took a fifth of its time. The call does what the variables
    `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` do, which PyTorch's performance guide recommends.

    Returns:
        Whether it was done: on Linux with glibc.
    """
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None or not mallopt(M_TRIM_THRESHOLD, GIB):
        return False
    # glibc before 2.35 takes no more than 32 MiB here.
    return bool(mallopt(M_MMAP_THRESHOLD, GIB) or mallopt(M_MMAP_THRESHOLD, 32 << 20))
