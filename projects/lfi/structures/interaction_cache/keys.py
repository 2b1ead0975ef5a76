"""How a cache knows an image: by the last parts of its path, wherever the data lie."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePath

import numpy as np

from .error import CacheError


def name_parts(paths: Sequence[str]) -> int:
    """How many of a path's last parts tell all images apart; at least two, folder and file.

    Raises:
        CacheError: if a path comes twice.
    """
    all_parts = [PurePath(path).parts for path in paths]
    for count in range(2, max([2, *map(len, all_parts)]) + 1):
        if len({parts[-count:] for parts in all_parts}) == len(paths):
            return count
    raise CacheError('an image comes twice: a cache keeps each image once')


def keys_of(paths: Sequence[str], parts: int) -> np.ndarray:
    """The images' keys (n,) uint64: wherever the data lie, the last parts of their paths name them."""
    # A file's name may hold bytes that are no text.
    names = ('/'.join(PurePath(path).parts[-parts:]).encode(errors='surrogateescape') for path in paths)
    return np.array(
        [int.from_bytes(blake2b(name, digest_size=8).digest(), 'little') for name in names], np.uint64
    )
