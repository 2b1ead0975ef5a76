"""One run at a time in the folder of a cell or a cache, and in the pages where studies are published."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfi.errors import UsageError

from .tool_output import tool_output

# Locks what it inherits. A lock belongs to the open file, which whoever started it has too.
WAIT = 'import fcntl, sys; fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX)'


@contextmanager
def run_lock(file: Path) -> Iterator[int]:
    """Keep other runs out of what a file stands for, on file systems that have locks.

    A program that is started with the descriptor in `pass_fds` keeps them out as long as it lives, though
    the one that started it is killed.

    Args:
        file: made if it is not there; it stays.

    Yields:
        The descriptor.

    Raises:
        UsageError: if another run, or what it has started, has it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _opened(file, os.O_RDWR | os.O_CREAT) as descriptor:
        try:
            _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f'{file.parent} is in use by another run, which holds {file.name}: wait for it, stop it and '
                'what it has started, or choose another folder'
            ) from None
        yield descriptor


@contextmanager
def awaited_lock(file: Path, name: str) -> Iterator[int]:
    """Wait until no other run has what a file stands for, and keep others out meanwhile, as `run_lock` does.

    Args:
        file: made if it is not there; it stays.
        name: what waits, for the error.

    Yields:
        The descriptor.

    Raises:
        UsageError: if the wait is stopped, as Ctrl-C stops tools.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _opened(file, os.O_RDWR | os.O_CREAT) as descriptor:
        try:
            _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'{name}: waiting until another run is done with {file}')
            # A thread that waits for a lock cannot be stopped; a program can.
            command = [sys.executable, '-I', '-c', WAIT, str(descriptor)]
            for _ in tool_output(command, f'{name}: waiting for {file}', pass_fds=[descriptor]):
                pass
        yield descriptor


@contextmanager
def publishing_lock(results: Path) -> Iterator[None]:
    """Wait until no other run publishes, and let none do so meanwhile.

    Args:
        results: the folder of the numbers, made if it is not there. The lock leaves no file in it.
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
        # Some file systems of clusters have no locks.
        return
