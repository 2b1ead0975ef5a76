"""Keys of cached images, from the last parts of their paths, and the sizes of their files."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path, PurePath

import numpy as np

from lfi.utils.fileio import AtomicLocalBackend, file_size

from .files import READ_ERRORS, CacheError, npy_bytes, read_npy
from .writer import CacheWriter


def name_parts(paths: Sequence[str]) -> int:
    """Return the number of last path parts that make all images unique; at least 2, folder and file.

    Raises:
        CacheError: if a path occurs twice.
    """
    all_parts = [PurePath(path).parts for path in paths]
    for count in range(2, max([2, *map(len, all_parts)]) + 1):
        if len({parts[-count:] for parts in all_parts}) == len(paths):
            return count
    raise CacheError('an image comes twice: a cache holds each image once')


def image_keys(paths: Sequence[str], parts: int) -> np.ndarray:
    """Return the keys (n,) uint64 of images, from the last parts of their paths, whatever the data root."""
    # File names may hold bytes that cannot be decoded.
    names = ('/'.join(PurePath(path).parts[-parts:]).encode(errors='surrogateescape') for path in paths)
    return np.array(
        [int.from_bytes(blake2b(name, digest_size=8).digest(), 'little') for name in names], np.uint64
    )


SIZES = 'sizes.npy'
UNKNOWN = -1
"""Size of an image that is no local file, from `file_size`."""


def record_sizes(writer: CacheWriter, paths: Sequence[str]) -> None:
    """Write the sizes of the images' files into a cache, before its maps.

    A cache with shards and without sizes is of an earlier version, and is not changed.

    Args:
        writer: writer of the cache.
        paths: paths of the images, in the order of the cache.

    Raises:
        CacheError: if an image has maps already, and the size of its file has changed since.
    """
    folder = writer.folder
    recorded, current = load_sizes(folder, len(paths)), file_sizes(paths)
    if recorded is not None:
        has_maps = writer.images_with_maps()
        refuse_other_files(folder, paths, np.where(has_maps, recorded, UNKNOWN), current)
        current = np.where(has_maps, recorded, current)
    elif any(folder.glob('shard-*')):
        return
    AtomicLocalBackend().put(npy_bytes(current), folder / SIZES)


def load_sizes(folder: Path, num_images: int) -> np.ndarray | None:
    """Load the file sizes in bytes, (N,), `UNKNOWN` for images without a local file; None if there are none.

    Raises:
        CacheError: if `sizes.npy` is corrupted.
    """
    path = folder / SIZES
    if not path.is_file():
        return None
    try:
        sizes = read_npy(path, np.int64)
    except READ_ERRORS:
        sizes = np.empty(0, np.int64)
    if sizes.shape != (num_images,):
        raise CacheError(
            f'{path} is corrupted. Remove it to use the cache without a check of the sizes of images'
        )
    return sizes


def refuse_other_files(folder: Path, paths: Sequence[str], recorded: np.ndarray, current: np.ndarray) -> None:
    """Check that the recorded sizes (n,) of images equal the current ones.

    Raises:
        CacheError: if a size differs.
    """
    differs = (recorded != current) & (recorded != UNKNOWN) & (current != UNKNOWN)
    if differs.any():
        first = int(differs.argmax())
        raise CacheError(
            f'{folder} was written for another image of this name: {paths[first]} has {current[first]:,} '
            f'bytes, and had {recorded[first]:,}. Run lfi cache with another folder for these images; or, if '
            f'they show the same, read a copy of this cache without {SIZES}'
        )


def file_sizes(paths: Sequence[str]) -> np.ndarray:
    """Return the sizes in bytes (n,) of files, `UNKNOWN` where there is no local file."""
    return np.array([file_size(path) for path in paths], np.int64)
