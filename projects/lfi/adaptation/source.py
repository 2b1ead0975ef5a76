"""Python source of the values in a config file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from math import isfinite
from typing import Any

from lfi.errors import UsageError

WIDTH = 100


@dataclass(frozen=True)
class Expression:
    """Python source that is written verbatim: `{{_base_.model.backbone}}`, or a variable's name.

    Args:
        text: Python source.
    """

    text: str


@dataclass(frozen=True)
class Call:
    """Call of a function in a config.

    Args:
        function: name of the function.
        args: positional arguments. Defaults to none.
        kwargs: keyword arguments. Defaults to none.
    """

    function: str
    args: tuple = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def source(value: Any, column: int = 0, indent: int = 0) -> str:
    """Return the Python source of a value, in one line if it fits.

    Args:
        value: plain data, `Expression`s and `Call`s.
        column: column at which the value starts. Defaults to 0.
        indent: indentation of the line in spaces. Defaults to 0.

    Raises:
        UsageError: if a text config cannot hold the value, such as a class.
    """
    if isinstance(value, Expression):
        return value.text
    if not isinstance(value, Mapping | Call | list | tuple):
        if value is not None and not isinstance(value, str | int | float):
            raise UsageError(
                f'the config holds {value!r}, which cannot be written into a text config: name it by a string'
            )
        # Python has no literal for inf and nan.
        return repr(value) if not isinstance(value, float) or isfinite(value) else f"float('{value}')"
    opening, items, closing = _parts(value)
    comma = ',' if isinstance(value, tuple) and len(items) == 1 else ''
    line = f'{opening}{", ".join(key + source(item) for key, item in items)}{comma}{closing}'
    if '\n' not in line and column + len(line) < WIDTH:
        return line
    inner = indent + 4
    lines = [f'{" " * inner}{key}{source(item, inner + len(key), inner)},' for key, item in items]
    return '\n'.join([opening, *lines, f'{" " * indent}{closing}'])


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Return the opening bracket of a value, the (prefix, item) pairs inside it, and the closing bracket."""
    if isinstance(value, Call):
        args = [('', item) for item in value.args]
        return f'{value.function}(', args + [(f'{key}=', item) for key, item in value.kwargs.items()], ')'
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value):
            return 'dict(', [(f'{key}=', item) for key, item in value.items()], ')'
        return '{', [(f'{key!r}: ', item) for key, item in value.items()], '}'
    brackets = '[]' if isinstance(value, list) else '()'
    return brackets[0], [('', item) for item in value], brackets[1]


def assignments(values: Mapping[str, Any]) -> str:
    """Return the lines of a config file, one variable for each value."""
    return ''.join(f'{name} = {source(value, len(name) + 3)}\n' for name, value in values.items())
