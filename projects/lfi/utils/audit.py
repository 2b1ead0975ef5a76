"""Blocks in which this thread refuses some of what Python audits: opening files, imports, connections.

An audit hook cannot be taken away again, so there is one, and it looks at nothing outside such a block.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

Guard = Callable[[str, tuple], None]
"""Gets the name and the arguments of an audit event, and raises an error where it refuses the event."""


class _Thread(threading.local):
    guards: tuple[Guard, ...] = ()


_thread = _Thread()


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Ask a guard about each audit event of this thread, after those of the blocks around."""
    _install_hook()
    before = _thread.guards
    _thread.guards = (*before, guard)
    try:
        yield
    finally:
        _thread.guards = before


@cache
def _install_hook() -> None:
    sys.addaudithook(_ask_guards)


def _ask_guards(event: str, args: tuple) -> None:
    guards = _thread.guards
    if not guards:
        return
    # What a guard does itself is not asked about.
    _thread.guards = ()
    try:
        for guard in guards:
            guard(event, args)
    finally:
        _thread.guards = guards


def installed_folders() -> tuple[str, ...]:
    """The folders of Python, of what is installed in it, and of the packages that are imported."""
    places = {sysconfig.get_path(name) for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')}
    places.update([*site.getsitepackages(), site.getusersitepackages()])
    for name, module in list(sys.modules.items()):
        file = getattr(module, '__file__', None)
        if '.' not in name and file and hasattr(module, '__path__'):
            places.add(str(Path(file).parent))
    return tuple(f'{os.path.realpath(place)}{os.sep}' for place in places)


def is_below(path: object, folders: tuple[str, ...]) -> bool:
    """Whether a path, as audit events have it, lies below one of some folders, links followed.

    Args:
        path: a text, bytes, or a path; a number is that of an open file, and lies nowhere.
        folders: real paths that end in a separator.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    return os.path.realpath(os.fsdecode(path)).startswith(folders)
