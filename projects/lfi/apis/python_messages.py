"""Messages of commands in Python's words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from lfi.engine.error_messages import user_error_message
from lfi.engine.launch import SHOW_TRACEBACK
from lfi.errors import UsageError

P = ParamSpec('P')
R = TypeVar('R')
OPTION = re.compile(r'--([a-z]+(?:-[a-z]+)*)')


def python_messages(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that its errors name arguments (`labels_per_class`), not options of commands.

    The traceback of an error that the user can fix shows the call alone, since the message says how;
    `LFI_TRACEBACK=1` shows all.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (OSError, RuntimeError, UsageError) as error:
            can_fix = isinstance(error, UsageError) or user_error_message(error) is not None
            if os.environ.get(SHOW_TRACEBACK) or not can_fix:
                raise
            if isinstance(error, UsageError):
                error.args = (OPTION.sub(_as_argument, str(error)),)
            raise error.with_traceback(None) from None

    return call


def _as_argument(match: re.Match) -> str:
    return match[1].replace('-', '_')
