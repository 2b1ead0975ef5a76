"""Context managers for loading a teacher: without foreign code, and from its folder only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lfi.utils.audit import guarded, installed_folders, is_below
from lfi.utils.process import offline, override

_CODE_SUFFIXES = ('.py', '.pyc', '.so', '.dylib', '.pyd')
_SYSTEM_FOLDERS = ('/dev/', '/lib/', '/lib64/', '/proc/', '/sys/', '/usr/', '/System/', '/Library/')


class ForeignCodeError(PermissionError):
    """A teacher's files contain code, or name files outside their folder."""


@contextmanager
def no_foreign_code() -> Iterator[None]:
    """Refuse code in a teacher's files that `transformers` would run or ask to run, in this thread.

    Not all libraries pass on the arguments that forbid such code, so audit events are checked too.

    Raises:
        ForeignCodeError: inside the block, if a code file that is not installed is opened, or a pickle names
            code.
        ValueError: inside the block, by `transformers`, if a model's config names code.
    """
    folders = installed_folders()

    def refuse(event: str, args: tuple) -> None:
        if event == 'pickle.find_class':
            raise ForeignCodeError(f'a pickle of a teacher names {args[0]}.{args[1]}, which is not run')
        path = _opened_path(event, args)
        if path is not None and path.endswith(_CODE_SUFFIXES) and not is_below(path, folders):
            raise ForeignCodeError(f'{path} is code of a teacher, which is not run')

    with guarded(refuse), _no_code_prompt():
        yield


@contextmanager
def only_files_of(folder: Path) -> Iterator[None]:
    """Refuse files outside a teacher's folder, in this thread. `transformers` opens files that configs name.

    Raises:
        ForeignCodeError: inside the block, if a file is opened outside the folder, installed packages, system
            folders and the user's cache.
        OfflineError: inside the block, if a connection is opened.
    """
    caches = _with_separator(os.path.realpath(os.path.expanduser('~/.cache')))
    folders = (*installed_folders(), *_SYSTEM_FOLDERS, caches, _with_separator(os.path.realpath(folder)))
    # Targets of links in the folder are allowed: the Hub's cache stores files as links.
    prefix = _with_separator(os.path.abspath(folder))

    def refuse(event: str, args: tuple) -> None:
        path = _opened_path(event, args)
        if path is not None and not os.path.abspath(path).startswith(prefix) and not is_below(path, folders):
            raise ForeignCodeError(f'{path} is not in the folder {folder}, and was not read')

    with guarded(refuse), offline():
        yield


def _opened_path(event: str, args: tuple) -> str | None:
    """Path of the file in an audit event. None for other events."""
    path = args[0] if event == 'open' else args[1] if event == 'import' else None
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None


def _with_separator(folder: str) -> str:
    return f'{folder}{os.sep}'


@contextmanager
def _no_code_prompt() -> Iterator[None]:
    """Let `transformers` refuse code at once instead of asking on the terminal."""
    try:
        from transformers import dynamic_module_utils
    except ImportError:
        yield
        return
    settings: Any = dynamic_module_utils
    with override(settings, 'TIME_OUT_REMOTE_CODE', 0):
        yield
