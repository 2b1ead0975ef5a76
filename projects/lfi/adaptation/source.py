"""Values as the Python of a config file."""

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
    """Python that stands in a config as it is: `{{_base_.model.backbone}}`, or a variable's name.

    Args:
        text: the Python.
    """

    text: str


@dataclass(frozen=True)
class Call:
    """A call in a config.

    Args:
        function: what is called.
        first: its arguments without a name. Defaults to none.
        named: its arguments by name. Defaults to none.
    """

    function: str
    first: tuple = ()
    named: Mapping[str, Any] = field(default_factory=dict)


def source(value: Any, before: int = 0, indent: int = 0) -> str:
    """The Python of a value, in one line where it fits.

    Args:
        value: plain data, `Expression`s and `Call`s.
        before: how many characters stand before it in its line. Defaults to 0.
        indent: of the line. Defaults to 0.

    Raises:
        UsageError: for what a text config cannot hold, such as a class.
    """
    if isinstance(value, Expression):
        return value.text
    if not isinstance(value, Mapping | Call | list | tuple):
        if value is not None and not isinstance(value, str | int | float):
            raise UsageError(
                f'the config holds {value!r}, which cannot be written into a text config: name it by a string'
            )
        # Neither has a name of its own in Python.
        return repr(value) if not isinstance(value, float) or isfinite(value) else f"float('{value}')"
    opening, items, closing = _parts(value)
    alone = ',' if isinstance(value, tuple) and len(items) == 1 else ''
    line = f'{opening}{", ".join(key + source(item) for key, item in items)}{alone}{closing}'
    if '\n' not in line and before + len(line) < WIDTH:
        return line
    inner = indent + 4
    lines = [f'{" " * inner}{key}{source(item, inner + len(key), inner)},' for key, item in items]
    return '\n'.join([opening, *lines, f'{" " * indent}{closing}'])


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """The brackets of a value, and what is between them: what stands before an item, and the item."""
    if isinstance(value, Call):
        first = [('', item) for item in value.first]
        return f'{value.function}(', first + [(f'{key}=', item) for key, item in value.named.items()], ')'
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value):
            return 'dict(', [(f'{key}=', item) for key, item in value.items()], ')'
        return '{', [(f'{key!r}: ', item) for key, item in value.items()], '}'
    brackets = '[]' if isinstance(value, list) else '()'
    return brackets[0], [('', item) for item in value], brackets[1]


def assignments(values: Mapping[str, Any]) -> str:
    """A config file's lines, a variable for each value."""
    return ''.join(f'{name} = {source(value, len(name) + 3)}\n' for name, value in values.items())
