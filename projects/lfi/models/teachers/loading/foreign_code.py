"""Blocks in which a teacher is loaded: one runs none of its code, the other also keeps to its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lfi.utils.audit import guarded, installed_folders, is_below
from lfi.utils.process import changed, offline

_CODE = ('.py', '.pyc', '.so', '.dylib', '.pyd')
_OF_THE_SYSTEM = ('/dev/', '/lib/', '/lib64/', '/proc/', '/sys/', '/usr/', '/System/', '/Library/')


class ForeignCodeError(PermissionError):
    """A teacher's files bring code, or lead to other files."""


@contextmanager
def no_foreign_code() -> Iterator[None]:
    """Load a teacher in this thread without code of its own: `transformers` would run it, or ask whether to.

    Libraries are told so by arguments, but not all hand them on: what Python opens is looked at, too.

    Raises:
        ForeignCodeError: inside the block, where code is opened that is not installed, or a pickle names it.
        ValueError: inside the block, by `transformers`, where a model's config names code.
    """
    folders = installed_folders()

    def refuse(event: str, args: tuple) -> None:
        if event == 'pickle.find_class':
            raise ForeignCodeError(f'a pickle names {args[0]}.{args[1]}, and none of a teacher is run')
        path = _opened(event, args)
        if path is not None and path.endswith(_CODE) and not is_below(path, folders):
            raise ForeignCodeError(f'{path} is code of a teacher, which is not run')

    with guarded(refuse), _no_question():
        yield


@contextmanager
def files_of(folder: Path) -> Iterator[None]:
    """Load a teacher of `transformers` in this thread from its folder alone, which may name other files.

    Raises:
        ForeignCodeError: inside the block, where a file is opened that is neither the folder's nor installed,
            and not the system's or a cache's.
        OfflineError: inside the block, at a connection.
    """
    caches = _ended(os.path.realpath(os.path.expanduser('~/.cache')))
    folders = (*installed_folders(), *_OF_THE_SYSTEM, caches, _ended(os.path.realpath(folder)))
    # What a link in it leads to is its own: so the cache of the Hub keeps files.
    own = _ended(os.path.abspath(folder))

    def refuse(event: str, args: tuple) -> None:
        path = _opened(event, args)
        if path is not None and not os.path.abspath(path).startswith(own) and not is_below(path, folders):
            raise ForeignCodeError(f'{path} is no file of the folder {folder}, and was not read')

    with guarded(refuse), offline():
        yield


def _opened(event: str, args: tuple) -> str | None:
    """The path of the file that an audit event is about, if it is about one."""
    path = args[0] if event == 'open' else args[1] if event == 'import' else None
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None


def _ended(folder: str) -> str:
    return f'{folder}{os.sep}'


@contextmanager
def _no_question() -> Iterator[None]:
    """Let `transformers` refuse code at once, where it would ask on the terminal; it has one setting."""
    try:
        from transformers import dynamic_module_utils
    except ImportError:
        yield
        return
    settings: Any = dynamic_module_utils
    with changed(settings, 'TIME_OUT_REMOTE_CODE', 0):
        yield
