"""What lies below a folder, and the folder of what is written."""

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


def make_folder(folder: str | Path, option: str) -> Path:
    """Make the folder that results will be written into: before the work that they come from.

    Args:
        folder: that is made, with those above it.
        option: that names it, or a file in it, for the message.

    Raises:
        UsageError: it cannot be made, or nothing can be written into it.
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
    """The paths of all files below a folder, relative to it.

    Links are followed; a folder that several links lead to is read once, by the first in order.

    Raises:
        OSError: When a folder cannot be listed.
    """
    read = set()
    for folder, folders, files in os.walk(root, onerror=_raise, followlinks=True):
        # A link may lead back to a folder that it lies in.
        real = os.path.realpath(folder)
        if real in read:
            folders.clear()
            continue
        read.add(real)
        # Which of several links comes first must not depend on the disk.
        folders.sort()
        below = os.path.relpath(folder, root)
        yield from (name if below == os.curdir else os.path.join(below, name) for name in files)


def image_names(root: str | Path) -> list[str]:
    """The paths of all images below a folder, relative to it, by their files' extensions.

    Images of other formats, and videos, are left out, and a warning counts them.

    Raises:
        OSError: When a folder cannot be listed.
    """
    files = list(files_below(root))
    others = Counter(suffix for suffix in map(_suffix, files) if suffix in (*OTHER_FORMATS, *VIDEO_SUFFIXES))
    if others:
        counts = ', '.join(f'{count} {suffix}' for suffix, count in sorted(others.items()))
        print_log(
            f'{root}: files of other formats than {", ".join(IMG_EXTENSIONS)} are left out: {counts}',
            'current',
            logging.WARNING,
        )
    return [name for name in files if name.lower().endswith(IMG_EXTENSIONS)]


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _raise(error: OSError) -> None:
    raise error


def resolved_path(path: str) -> str:
    """The real path of a file, however it is spelt; addresses stay as they are."""
    return path if '://' in path else os.path.realpath(path)
