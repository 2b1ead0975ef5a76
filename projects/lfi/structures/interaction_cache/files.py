"""The files of a cache: their names and checksums, and a .npy whose header must fit its file to be read."""

from __future__ import annotations

import io
import json
import sys
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy

from lfi.errors import UsageError
from lfi.utils.fileio import hash_files, is_nonempty_file, read_prefix


class CacheError(UsageError):
    """A cache that is missing, unfinished, corrupted, or of other maps than those asked for."""


# Those that `numpy.save` writes for fields with names in ASCII.
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
UNREADABLE = (OSError, ValueError, EOFError)
"""The errors that `read_npy` raises."""


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
    if path.exists() and not is_nonempty_file(path):
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
    # numpy counts the sides of an empty array too, all but those of 0.
    counted = all(type(side) is int and side >= 0 for side in shape)
    counted = counted and prod(max(side, 1) for side in shape) * found.itemsize <= sys.maxsize
    if not counted or prod(shape) * found.itemsize != held:
        raise ValueError(
            f'its header names the shape {shape} of {found}, and the file has {held:,} bytes of it'
        )
    array: np.ndarray = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    return array


ANEW = 'Write the cache anew, by lfi cache in another folder'


def shard_file(folder: Path, shard: int) -> Path:
    """Of a shard's records."""
    return folder / f'shard-{shard:05}.npy'


def checksum_file(folder: Path, shard: int) -> Path:
    """Of the checksum of a shard; it is written last, and so says that the shard is done."""
    return folder / f'shard-{shard:05}.blake2b'


def unread_file(folder: Path, shard: int) -> Path:
    """Of the places in a shard of images that could not be read; there where there are any."""
    return folder / f'shard-{shard:05}.unread.json'


def checksum(content: bytes) -> str:
    """Of a file's content."""
    return blake2b(content, digest_size=16).hexdigest()


def checksum_of(path: Path) -> str:
    """Of a file."""
    return hash_files(blake2b(digest_size=16), path).hexdigest()


def read_checksum(folder: Path, shard: int) -> str:
    """The checksum of a shard.

    Raises:
        CacheError: if its file does not hold one.
    """
    path = checksum_file(folder, shard)
    try:
        return read_prefix(path, 64).decode()
    except (OSError, ValueError) as error:
        raise CacheError(
            f'{path} is corrupted: {error}. Remove it and run lfi cache again: it writes this shard anew'
        ) from error


def read_unread(folder: Path, shard: int) -> list[int]:
    """The places in a shard of images that could not be read.

    Raises:
        CacheError: if its file does not hold them.
    """
    path = unread_file(folder, shard)
    if not path.is_file():
        return []
    try:
        places = json.loads(read_prefix(path, path.stat().st_size).decode())
    except (OSError, ValueError, RecursionError):
        places = None
    if not isinstance(places, list) or not all(type(place) is int for place in places):
        raise CacheError(
            f'{path} is corrupted: remove it and {checksum_file(folder, shard).name}, and run '
            'lfi cache again: it writes this shard anew'
        )
    return places


def npy_bytes(array: np.ndarray) -> bytes:
    """An array as the content of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def load_keys(folder: Path, expected: str) -> np.ndarray:
    """The keys (N,) uint64 of a cache's images. Errors as `load_array`."""
    return load_array(folder, 'keys.npy', np.uint64, expected)


def load_texts(folder: Path, expected: str) -> np.ndarray:
    """The embeddings (C, E) float32 of a cache's texts. Errors as `load_array`."""
    return load_array(folder, 'texts.npy', np.float32, expected)


def load_array(folder: Path, name: str, dtype: type, expected: str) -> np.ndarray:
    """An array of the folder, whose content has the checksum that the manifest expects.

    Raises:
        CacheError: if it is missing, corrupted, or another one.
    """
    path = folder / name
    try:
        array = read_npy(path, dtype)
    except UNREADABLE as error:
        raise CacheError(f'{path} is missing or corrupted: {error}. {ANEW}') from error
    if checksum(array.tobytes()) != expected:
        raise CacheError(f'{path} was changed: it does not match the manifest. {ANEW}')
    return array
