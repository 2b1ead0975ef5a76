"""Keys of cached images, from the last parts of their paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePath

import numpy as np

from .files import CacheError


def name_parts(paths: Sequence[str]) -> int:
    """Return the number of last path parts that make all images unique; at least 2, folder and file.

    Raises:
        CacheError: if a path occurs twice.
    """
    depth = max((path.count('/') for path in paths), default=0) + 1
    for count in range(2, max(2, depth) + 1):
        if len({last_parts(path, count) for path in paths}) == len(paths):
            return count
    raise CacheError('an image comes twice: a cache holds each image once')


def last_parts(path: str, count: int) -> str:
    """Return the last parts of a path, joined by '/'."""
    # A data set of one's own may have `pathlib` paths.
    path = os.fspath(path)
    if '//' in path or '/./' in path or os.sep != '/':
        path = PurePath(path).as_posix()
    return '/'.join(path.rsplit('/', count)[-count:])


def image_keys(paths: Sequence[str], parts: int) -> np.ndarray:
    """Return the keys (n,) uint64 of images, from the last parts of their paths, whatever the data root."""
    # File names may hold bytes that cannot be decoded.
    names = (last_parts(path, parts).encode(errors='surrogateescape') for path in paths)
    return np.array(
        [int.from_bytes(blake2b(name, digest_size=8).digest(), 'little') for name in names], np.uint64
    )
