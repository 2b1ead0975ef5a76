"""Messages of commands in Python's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from lfi.errors import UsageError

P = ParamSpec('P')
R = TypeVar('R')
OPTION = re.compile(r'--([a-z]+(?:-[a-z]+)*)')


def python_messages(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that its errors name arguments (`labels_per_class`), not options of commands."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UsageError as error:
            message = str(error)
            renamed = OPTION.sub(lambda match: match[1].replace('-', '_'), message)
            if renamed == message:
                raise
            raise UsageError(renamed) from error

    return call
