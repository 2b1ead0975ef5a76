"""Folders: listing of files and images, and output folders."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mmengine.logging import print_log
from torchvision.datasets.folder import IMG_EXTENSIONS

from lfi.errors import UsageError

# Formats of images that not every decoder reads.
OTHER_FORMATS = ('.avif', '.dng', '.gif', '.heic', '.heif', '.jp2', '.jxl', '.psd', '.svg')
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')

IMG_SUFFIXES = frozenset(IMG_EXTENSIONS)
OMITTED = {*OTHER_FORMATS, *VIDEO_SUFFIXES}


def make_folder(folder: str | Path, option: str) -> Path:
    """Make an output folder, before long work, so that an unusable folder is reported at once.

    Args:
        folder: folder to make, with its parents.
        option: option that names the folder or a file in it, for the message.

    Raises:
        UsageError: if the folder cannot be made, or is not writable.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'{option}: the folder {folder} cannot be made: {error}') from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f'{option}: nothing can be written into {folder}')
    return folder


def files_below(root: str | Path) -> Iterator[str]:
    """Iterate over the paths of all files below a folder, relative to it.

    Links are followed. A folder that several links lead to is read once, through the first link in order.

    Raises:
        OSError: if a folder cannot be listed.
    """
    for prefix, names in _files_by_folder(root):
        yield from (prefix + name for name in names)


def image_names(root: str | Path) -> list[str]:
    """Return the paths of all images below a folder, relative to it. See `images_by_folder`.

    Raises:
        OSError: if a folder cannot be listed.
    """
    return [prefix + name for prefix, names in images_by_folder(root) for name in names]


def images_by_folder(root: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Iterate over the folders with images below a folder: each as a path prefix and its sorted images.

    An image is a file whose suffix is that of an image. Images of other formats and videos are left out, with
    a warning that counts them.

    Raises:
        OSError: if a folder cannot be listed.
    """
    omitted = Counter[str]()
    for prefix, names in _files_by_folder(root):
        # There may be a hundred million: the first test decides most of them, without a call.
        found = [name for name in names if name[-4:] in IMG_SUFFIXES or _suffix(name) in IMG_SUFFIXES]
        if len(found) < len(names):
            omitted.update(suffix for suffix in map(_suffix, names) if suffix in OMITTED)
        if found:
            yield prefix, sorted(found)
    if omitted:
        counts = ', '.join(f'{count} {suffix}' for suffix, count in sorted(omitted.items()))
        print_log(
            f'{root}: files of other formats than {", ".join(IMG_EXTENSIONS)} are left out: {counts}',
            'current',
            logging.WARNING,
        )


def _files_by_folder(root: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Iterate over the folders below a folder: the prefix of the paths, and the names of the files in it."""
    visited = set()
    for folder, folders, names in os.walk(root, onerror=_raise, followlinks=True):
        # A link may lead to a folder above it.
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        # The order of links must not depend on the disk.
        folders.sort()
        below = os.path.relpath(folder, root)
        yield '' if below == os.curdir else below + os.sep, names


def _suffix(name: str) -> str:
    return name[name.rfind('.') :].lower()


def _raise(error: OSError) -> None:
    raise error


def resolved_path(path: str) -> str:
    """Return the real path of a file. Addresses are returned unchanged."""
    return path if '://' in path else os.path.realpath(path)
