"""The files of a cache."""

from __future__ import annotations

import io
import json
from hashlib import blake2b
from pathlib import Path

import numpy as np

from lfi.digests import hash_files
from lfi.fileio import read_start

from .error import CacheError
from .npy import UNREADABLE, read_npy

ANEW = 'Write the cache anew, by tools/cache_teacher.py in another folder'


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
        return read_start(path, 64).decode()
    except (OSError, ValueError) as error:
        raise CacheError(
            f'{path} is corrupted: {error}. Remove it and run tools/cache_teacher.py again: it writes this '
            'shard anew'
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
        places = json.loads(read_start(path, path.stat().st_size).decode())
    except (OSError, ValueError, RecursionError):
        places = None
    if not isinstance(places, list) or not all(type(place) is int for place in places):
        raise CacheError(
            f'{path} is corrupted: remove it and {checksum_file(folder, shard).name}, and run '
            'tools/cache_teacher.py again: it writes this shard anew'
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
