"""A block in which no code is read that a teacher's files bring, or lead to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lfi.audit import guarded, installed_folders, is_below

_CODE = ('.py', '.pyc', '.so', '.dylib', '.pyd')


class ForeignCodeError(PermissionError):
    """A teacher's files bring code, or name where some is fetched."""


@contextmanager
def no_foreign_code() -> Iterator[None]:
    """Load a teacher in this thread without code of its own: `transformers` would run it, or ask whether to.

    Libraries are told so by arguments, but not all hand them on: what Python opens is looked at, too.

    Raises:
        ForeignCodeError: inside the block, where code is opened that is not installed.
        ValueError: inside the block, by `transformers`, where a model's config names code.
    """
    folders = installed_folders()

    def refuse(event: str, args: tuple) -> None:
        path = args[0] if event == 'open' else args[1] if event == 'import' else None
        if path is not None and _is_code(path) and not is_below(path, folders):
            raise ForeignCodeError(f'{os.fsdecode(path)} is code of a teacher, which is not run')

    with guarded(refuse), _no_question():
        yield


def _is_code(path: Any) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and Path(os.fsdecode(path)).suffix in _CODE


@contextmanager
def _no_question() -> Iterator[None]:
    """Let `transformers` refuse code at once, where it would ask on the terminal; it has one setting."""
    try:
        from transformers import dynamic_module_utils
    except ImportError:
        yield
        return
    before, dynamic_module_utils.TIME_OUT_REMOTE_CODE = dynamic_module_utils.TIME_OUT_REMOTE_CODE, 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before
