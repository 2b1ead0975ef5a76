"""Guards of Python's audit events (opening files, imports, connections) for one thread and one block.

An audit hook cannot be removed, so one hook serves all blocks. It does nothing outside of them.
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
"""Function of an audit event's name and arguments that raises an error to refuse the event."""


class _Thread(threading.local):
    guards: tuple[Guard, ...] = ()


_thread = _Thread()


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Call a guard for each audit event of this thread in a block, after the guards of outer blocks."""
    _install_hook()
    outer = _thread.guards
    _thread.guards = (*outer, guard)
    try:
        yield
    finally:
        _thread.guards = outer


@cache
def _install_hook() -> None:
    sys.addaudithook(_call_guards)


def _call_guards(event: str, args: tuple) -> None:
    guards = _thread.guards
    if not guards:
        return
    # A guard may cause events itself.
    _thread.guards = ()
    try:
        for guard in guards:
            guard(event, args)
    finally:
        _thread.guards = guards


def installed_folders() -> tuple[str, ...]:
    """Return the folders of Python and of installed and imported packages, with a separator at the end."""
    folders = {sysconfig.get_path(name) for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')}
    folders.update([*site.getsitepackages(), site.getusersitepackages()])
    for name, module in list(sys.modules.items()):
        file = getattr(module, '__file__', None)
        if '.' not in name and file and hasattr(module, '__path__'):
            folders.add(str(Path(file).parent))
    return tuple(f'{os.path.realpath(folder)}{os.sep}' for folder in folders)


def is_below(path: object, folders: tuple[str, ...]) -> bool:
    """Whether a path of an audit event lies below one of several folders, links followed.

    Args:
        path: str, bytes or path. A number is an open file, and lies below no folder.
        folders: real paths that end in a separator.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    return os.path.realpath(os.fsdecode(path)).startswith(folders)
