"""One run at a time in the folder of a cell."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfi.errors import UsageError


@contextmanager
def cell_lock(folder: Path) -> Iterator[int]:
    """Keep other runs out of a folder, on file systems that have locks.

    A program that is started with the descriptor in `pass_fds` keeps them out as long as it lives, though
    the one that started it is killed.

    Args:
        folder: of the cell, made if it is not there.

    Yields:
        The descriptor.

    Raises:
        UsageError: if another run, or what it has started, is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / '.lock', os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f'{folder} is in use by another run: wait for it, stop it and what it has started, or choose '
                'another folder'
            ) from None
        except OSError:
            # Some file systems of clusters have no locks.
            pass
        yield descriptor
    finally:
        os.close(descriptor)
