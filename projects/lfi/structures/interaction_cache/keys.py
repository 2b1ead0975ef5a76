"""How a cache knows an image: by the last parts of its path, and by the size of its file."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path, PurePath

import numpy as np

from lfi.utils.fileio import AtomicLocalBackend, file_size

from .files import UNREADABLE, CacheError, npy_bytes, read_npy
from .writer import CacheWriter


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


def image_keys(paths: Sequence[str], parts: int) -> np.ndarray:
    """The images' keys (n,) uint64: wherever the data lie, the last parts of their paths name them."""
    # A file's name may hold bytes that are no text.
    names = ('/'.join(PurePath(path).parts[-parts:]).encode(errors='surrogateescape') for path in paths)
    return np.array(
        [int.from_bytes(blake2b(name, digest_size=8).digest(), 'little') for name in names], np.uint64
    )


SIZES = 'sizes.npy'
UNKNOWN = -1
"""The size of an image that is no file of this machine, as `file_size` gives it."""


def record_sizes(writer: CacheWriter, paths: Sequence[str]) -> None:
    """Keep the sizes of the images' files in a cache that is about to be written.

    Those of images whose maps are there already must be what they were. A cache that has shards and no sizes
    is of an earlier version, and stays as it is.

    Args:
        writer: of the cache.
        paths: of its images, in its order.

    Raises:
        CacheError: an image has maps, and its file another size than when they were made.
    """
    folder = writer.folder
    kept, found = load_sizes(folder, len(paths)), file_sizes(paths)
    if kept is not None:
        has_maps = writer.have_maps()
        refuse_other_files(folder, paths, np.where(has_maps, kept, UNKNOWN), found)
        found = np.where(has_maps, kept, found)
    elif any(folder.glob('shard-*')):
        return
    AtomicLocalBackend().put(npy_bytes(found), folder / SIZES)


def load_sizes(folder: Path, num_images: int) -> np.ndarray | None:
    """The sizes in bytes (N,) that a cache keeps, `UNKNOWN` for what was no file; None where it keeps none.

    Raises:
        CacheError: they are corrupted.
    """
    path = folder / SIZES
    if not path.is_file():
        return None
    try:
        sizes = read_npy(path, np.int64)
    except UNREADABLE:
        sizes = np.empty(0, np.int64)
    if sizes.shape != (num_images,):
        raise CacheError(
            f'{path} is corrupted: remove it, and the cache serves on, but takes any image of a known name'
        )
    return sizes


def refuse_other_files(folder: Path, paths: Sequence[str], kept: np.ndarray, found: np.ndarray) -> None:
    """Compare the sizes (n,) that a cache keeps of images with those that are found.

    Raises:
        CacheError: one differs; the message names the image.
    """
    other = (kept != found) & (kept != UNKNOWN) & (found != UNKNOWN)
    if other.any():
        first = int(other.argmax())
        raise CacheError(
            f'{folder} was written for another image of this name: {paths[first]} has {found[first]:,} '
            f'bytes, and had {kept[first]:,}. Write a cache for these images in another folder by '
            f'lfi cache; or, if they show the same, read a copy of this one without {SIZES}'
        )


def file_sizes(paths: Sequence[str]) -> np.ndarray:
    """The sizes in bytes (n,) of files, `UNKNOWN` for what is none."""
    return np.array([file_size(path) for path in paths], np.int64)
