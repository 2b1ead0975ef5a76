"""Reading a .npy file, whose header is compared with the file before memory is taken for it."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy

from lfi.fileio import holds_bytes

# Those that `numpy.save` writes for fields with names in ASCII.
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
UNREADABLE = (OSError, ValueError, EOFError)
"""What `read_npy` raises."""


def read_npy(path: Path, dtype: np.dtype | type, mmap_mode: Literal['r'] | None = None) -> np.ndarray:
    """Read an array of numbers.

    Args:
        path: of its file.
        dtype: that it must have.
        mmap_mode: as of `numpy.load`. Defaults to None.

    Raises:
        OSError: if the file is missing or cannot be read.
        ValueError: if its header names another dtype, or more or less than the file holds; or it is no .npy.
        EOFError: if it is empty, or no file of a disk.
    """
    if path.exists() and not holds_bytes(path):
        raise EOFError('it is empty, or no file')
    with path.open('rb') as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f'its header has the version {version}')
        try:
            shape, _, found = _HEADERS[version](file)
        # Python's parser reads it, and gives up in errors of many kinds.
        except Exception as error:
            raise ValueError('its header cannot be read') from error
        held = path.stat().st_size - file.tell()
    if found != dtype:
        raise ValueError(f'it holds {found}, and must hold {np.dtype(dtype)}')
    if min(shape, default=0) < 0 or prod(shape) * found.itemsize != held:
        raise ValueError(
            f'its header names the shape {shape} of {found}, and the file has {held:,} bytes of it'
        )
    array: np.ndarray = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    return array
