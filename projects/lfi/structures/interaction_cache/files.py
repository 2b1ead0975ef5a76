"""The files of a cache."""

from __future__ import annotations

import io
from hashlib import blake2b
from pathlib import Path

import numpy as np

from .error import CacheError


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


def npy_bytes(array: np.ndarray) -> bytes:
    """An array as the content of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def load_array(folder: Path, name: str, expected: str) -> np.ndarray:
    """An array of the folder, whose content has the checksum that the manifest expects.

    Raises:
        CacheError: if it is missing, corrupted, or another one.
    """
    path = folder / name
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CacheError(f'{path} is missing or corrupted: {error}') from error
    if checksum(array.tobytes()) != expected:
        raise CacheError(f'{path} was changed: it does not match the manifest. Write the cache anew')
    return array
