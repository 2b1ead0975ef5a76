"""Files of a cache: names, checksums and bounded reading of .npy files."""

from __future__ import annotations

import io
import sys
from hashlib import blake2b
from math import prod
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.lib import format as npy

from lfi.errors import UsageError
from lfi.utils.fileio import is_nonempty_file
from lfi.utils.stores import is_address, join, local_path


class CacheError(UsageError):
    """A cache that is missing, unfinished or corrupted, or that holds other maps than expected."""


# `numpy.save` writes these versions for fields with ASCII names.
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
READ_ERRORS = (OSError, ValueError, EOFError)
"""The errors that `read_npy` raises."""


def read_npy(path: Path, dtype: np.dtype | type, mmap_mode: Literal['r'] | None = None) -> np.ndarray:
    """Read an array of numbers from a .npy file, and check its header against the size of the file.

    Args:
        path: path of the .npy file.
        dtype: expected dtype.
        mmap_mode: mode of `numpy.load`. Defaults to None: the array is read into memory.

    Raises:
        OSError: if the file is missing or cannot be read.
        ValueError: if it is no .npy file, or has another dtype or size than expected.
        EOFError: if it is empty, or no regular file.
    """
    if path.exists() and not is_nonempty_file(path):
        raise EOFError('it is empty, or no file')
    with path.open('rb') as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f'its header has the version {version}')
        try:
            shape, _, file_dtype = _HEADERS[version](file)
        # Python's parser reads the header, and raises errors of many kinds.
        except Exception as error:
            raise ValueError('its header cannot be read') from error
        num_bytes = path.stat().st_size - file.tell()
    if file_dtype != dtype:
        raise ValueError(f'it holds {file_dtype}, and must hold {np.dtype(dtype)}')
    # numpy multiplies all sides except zeros, even of an empty array. The product must not overflow.
    valid = all(type(side) is int and side >= 0 for side in shape)
    valid = valid and prod(max(side, 1) for side in shape) * file_dtype.itemsize <= sys.maxsize
    if not valid or prod(shape) * file_dtype.itemsize != num_bytes:
        raise ValueError(
            f'its header names the shape {shape} of {file_dtype}, but the file has {num_bytes:,} bytes for it'
        )
    array: np.ndarray = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    return array


REDO = 'Write the cache again: run lfi cache with another folder'


def shard_name(shard: int) -> str:
    """Return the name of the file of a shard, by its index."""
    return f'shard-{shard:05}.safetensors'


def shard_file(folder: Path, shard: int) -> Path:
    """Return the path of a shard, by its index."""
    return folder / shard_name(shard)


def sidecar_name(tar: str) -> str:
    """Return the name of the file of a shard that belongs to a tar file."""
    return f'{PurePosixPath(tar).name.removesuffix(".tar")}.safetensors'


def checksum(content: bytes) -> str:
    """Return the checksum of a content."""
    return blake2b(content, digest_size=16).hexdigest()


def npy_bytes(array: np.ndarray) -> bytes:
    """Serialize an array as the content of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def find_file(folder: str | Path, name: str) -> Path | None:
    """Return the path of a file of a cache, or of its copy from a store; None if there is no such file.

    Raises:
        StoreError: if the store cannot be read.
    """
    if is_address(folder):
        try:
            return local_path(join(str(folder), name))
        except FileNotFoundError:
            return None
    path = Path(folder) / name
    return path if path.is_file() else None


def load_texts(folder: str | Path, expected: str) -> np.ndarray:
    """Load the embeddings (C, E) float32 of a cache's texts, and check them against the manifest's checksum.

    Raises:
        CacheError: if they are missing or corrupted, or have another checksum.
        StoreError: if they cannot be read from the store.
    """
    path = find_file(folder, 'texts.npy')
    try:
        if path is None:
            raise FileNotFoundError('there is no such file')
        texts = read_npy(path, np.float32)
    except READ_ERRORS as error:
        raise CacheError(f'{folder}/texts.npy is missing or corrupted: {error}. {REDO}') from error
    if checksum(texts.tobytes()) != expected:
        raise CacheError(f'{path} was changed: it does not match the manifest. {REDO}')
    return texts
