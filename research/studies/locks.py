"""Locks that allow one run at a time in a cell, a cache, or the published pages."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfi.errors import UsageError

from .tool_output import tool_output

# Program that locks an inherited descriptor. The lock belongs to the open file, so the parent holds it too.
WAIT = 'import fcntl, sys; fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX)'


@contextmanager
def run_lock(file: Path) -> Iterator[int]:
    """Hold an exclusive lock, on file systems that have locks.

    A program started with the descriptor in `pass_fds` holds the lock until it ends, even if its parent is
    killed.

    Args:
        file: file of the lock; created if missing, and kept.

    Yields:
        The descriptor of the file.

    Raises:
        UsageError: if another run, or a program that it started, holds the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _opened(file, os.O_RDWR | os.O_CREAT) as descriptor:
        try:
            _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f'{file.parent} is in use by another run, which holds {file.name}: wait for it, stop it and '
                'its programs, or choose another folder'
            ) from None
        yield descriptor


@contextmanager
def awaited_lock(file: Path, name: str) -> Iterator[int]:
    """Wait for an exclusive lock, and hold it like `run_lock`.

    Args:
        file: file of the lock; created if missing, and kept.
        name: name of the waiting cell, for messages.

    Yields:
        The descriptor of the file.

    Raises:
        UsageError: if Ctrl-C stops the wait.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _opened(file, os.O_RDWR | os.O_CREAT) as descriptor:
        try:
            _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'{name}: waiting until another run is done with {file}')
            # Wait in a program: it can be stopped, and a waiting thread cannot.
            command = [sys.executable, '-I', '-c', WAIT, str(descriptor)]
            for _ in tool_output(command, f'{name}: waiting for {file}', pass_fds=[descriptor]):
                pass
        yield descriptor


@contextmanager
def publishing_lock(results: Path) -> Iterator[None]:
    """Wait until no other run publishes, and lock publishing.

    Args:
        results: folder of the published numbers; created if missing. The lock leaves no file in it.
    """
    results.mkdir(parents=True, exist_ok=True)
    with _opened(results, os.O_RDONLY) as descriptor:
        _lock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError:
        # Some cluster file systems have no locks.
        return
