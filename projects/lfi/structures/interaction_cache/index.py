"""Index of a cache: the row of each image by its key, made once when all shards are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lfi.utils.fileio import AtomicLocalBackend

from .files import READ_ERRORS, REDO, CacheError, npy_bytes, read_npy

ENTRIES, BLOCKS = 'index.npy', 'index-blocks.npy'
ENTRY = np.dtype([('key', np.uint64), ('row', np.int64)])
BLOCK = 256
"""Entries that are read at once: 4 KiB."""


class CacheIndex:
    """Rows of a cache by the images' keys, read from the file block by block.

    In memory it holds the first key of each block, one for 256 images. The file is not mapped: mapped pages
    would add up to the whole index.

    Args:
        folder: folder of the cache.
        num_images: number of images in the cache's manifest.

    Raises:
        CacheError: if the index is missing or corrupted, or of another number of images.
    """

    def __init__(self, folder: Path, num_images: int) -> None:
        self._path, self._num_images = folder / ENTRIES, num_images
        entries = _read(self._path, ENTRY, num_images)
        assert isinstance(entries, np.memmap)
        self._offset = entries.offset
        self._first_keys = _read(folder / BLOCKS, np.uint64, -(-num_images // BLOCK), mapped=False)

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows (n,) int64 of keys (n,) uint64; -1 where the cache has no such image.

        Raises:
            CacheError: if the file is missing, shortened or corrupted.
        """
        blocks = self._first_keys.searchsorted(keys, side='right') - 1
        rows = np.full(len(keys), -1)
        for i, (key, block) in enumerate(zip(keys, blocks.tolist())):
            if block < 0:
                continue
            entries = self._read_block(block)
            position = min(entries['key'].searchsorted(key), len(entries) - 1)
            if entries['key'][position] == key:
                rows[i] = row = entries['row'][position]
                if not 0 <= row < self._num_images:
                    raise CacheError(f'{self._path} is corrupted: it names the row {row}. {REDO}')
        return rows

    def _read_block(self, block: int) -> np.ndarray:
        """Read the entries (256,) of a block; the last one may have fewer."""
        count = min(BLOCK, self._num_images - block * BLOCK)
        offset = self._offset + block * BLOCK * ENTRY.itemsize
        try:
            # A file that stays open would share its position with data workers.
            with self._path.open('rb', buffering=0) as file:
                file.seek(offset)
                content = file.read(count * ENTRY.itemsize)
            if len(content) != count * ENTRY.itemsize:
                raise EOFError('it has become shorter')
            entries = np.frombuffer(content, ENTRY)
            if entries['key'][0] != self._first_keys[block]:
                raise ValueError(f'its block {block} does not begin as {BLOCKS} says')
        except READ_ERRORS as error:
            raise _error(self._path, error) from error
        return entries


def _read(path: Path, dtype: np.dtype | type, count: int, mapped: bool = True) -> np.ndarray:
    """Read an array (count,) of the index."""
    try:
        array = read_npy(path, dtype, mmap_mode='r' if mapped else None)
        if array.shape != (count,):
            raise ValueError(f'it has the shape {array.shape}, and must have {(count,)}')
    except READ_ERRORS as error:
        raise _error(path, error) from error
    return array


def _error(path: Path, error: Exception) -> CacheError:
    return CacheError(
        f'{path} is missing or corrupted: {error}. Remove it and run lfi cache again: it writes the index'
    )


def has_index(folder: Path) -> bool:
    """Whether a cache has an index, and so all its shards."""
    return (folder / ENTRIES).is_file() and (folder / BLOCKS).is_file()


def write_index(folder: Path, keys: np.ndarray) -> None:
    """Write the index of a complete cache.

    Args:
        folder: folder of the cache.
        keys: (N,) uint64, keys of all images in the order of the shards.

    Raises:
        CacheError: if two images have the same key.
    """
    entries = np.empty(len(keys), ENTRY)
    order = np.argsort(keys)
    entries['key'], entries['row'] = keys[order], order
    if (entries['key'][1:] == entries['key'][:-1]).any():
        raise CacheError(f'{folder} has two images of the same key. {REDO}')
    files = AtomicLocalBackend()
    files.put(npy_bytes(entries), folder / ENTRIES)
    # The first keys come last: they mark the index as complete.
    files.put(npy_bytes(entries['key'][::BLOCK].copy()), folder / BLOCKS)
