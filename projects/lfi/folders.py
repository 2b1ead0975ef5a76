"""What lies below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


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


def _raise(error: OSError) -> None:
    raise error
