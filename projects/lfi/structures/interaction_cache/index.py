"""Index of a cache: the row of each image by its key, made once when all shards are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lfi.utils.fileio import AtomicLocalBackend

from .files import READ_ERRORS, REDO, CacheError, npy_bytes, read_npy

KEYS, ROWS = 'index-keys.npy', 'index-rows.npy'


class CacheIndex:
    """Rows of a cache by the images' keys. Both arrays are memory-mapped.

    Args:
        folder: folder of the cache.
        num_images: number of images in the cache's manifest.

    Raises:
        CacheError: if the index is missing or corrupted, or of another number of images.
    """

    def __init__(self, folder: Path, num_images: int) -> None:
        arrays = []
        for name in (KEYS, ROWS):
            path = folder / name
            try:
                array = read_npy(path, np.uint64, mmap_mode='r')
                if array.shape != (num_images,):
                    raise ValueError(f'it has the shape {array.shape}, and the cache {num_images:,} images')
            except READ_ERRORS as error:
                raise CacheError(
                    f'{path} is missing or corrupted: {error}. Remove it and run lfi cache again: it writes '
                    'the index'
                ) from error
            # A plain array: numpy's memmap is slow for few values.
            arrays.append(array.view(np.ndarray))
        self._keys, self._rows = arrays[0], arrays[1].view(np.int64)

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows (n,) int64 of keys (n,) uint64; -1 where the cache has no such image."""
        positions = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[positions] == keys, self._rows[positions], -1)


def has_index(folder: Path) -> bool:
    """Whether a cache has an index, and so all its shards."""
    return (folder / KEYS).is_file() and (folder / ROWS).is_file()


def write_index(folder: Path, keys: np.ndarray) -> None:
    """Write the index of a complete cache.

    Args:
        folder: folder of the cache.
        keys: (N,) uint64, keys of all images in the order of the shards.

    Raises:
        CacheError: if two images have the same key.
    """
    order = np.argsort(keys)
    keys = keys[order]
    if (keys[1:] == keys[:-1]).any():
        raise CacheError(f'{folder} has two images of the same key. {REDO}')
    files = AtomicLocalBackend()
    # The keys come last: they mark the index as complete.
    files.put(npy_bytes(order.astype(np.uint64)), folder / ROWS)
    files.put(npy_bytes(keys), folder / KEYS)
