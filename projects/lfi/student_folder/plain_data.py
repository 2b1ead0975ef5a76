"""A config as data that JSON holds, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lfi.errors import UsageError
from lfi.registry import registered_name

TUPLE = '__tuple__'
"""The only key of what was a tuple: some of OpenMMLab's types take no lists."""


def to_plain(value: Any, where: str) -> Any:
    """Make data of a part of a config.

    Args:
        value: dicts, lists, tuples, numbers, texts and None; a registered type becomes its name.
        where: its name in messages.

    Raises:
        UsageError: for anything else, or a key that is no text.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == TUPLE:
                raise UsageError(f'{where} has the key {key!r}: keys must be texts, to be written as JSON')
        return {key: to_plain(part, f'{where}.{key}') for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [to_plain(part, f'{where}[{i}]') for i, part in enumerate(value)]
        return {TUPLE: parts} if isinstance(value, tuple) else parts
    if isinstance(value, type):
        return _name_of(value, where)
    if isinstance(value, PurePath):
        return str(value)
    raise UsageError(f'{where}={value!r} is not plain data, and cannot be written as JSON')


def from_plain(value: Any) -> Any:
    """The part of a config that `to_plain` made data of."""
    if isinstance(value, dict):
        if value.keys() == {TUPLE} and isinstance(value[TUPLE], list):
            return tuple(map(from_plain, value[TUPLE]))
        return {key: from_plain(part) for key, part in value.items()}
    return list(map(from_plain, value)) if isinstance(value, list) else value


def _name_of(kind: type, where: str) -> str:
    """The name of a type that a lazy config holds."""
    found = registered_name(kind)
    if found is None:
        raise UsageError(f'{where}={kind.__module__}.{kind.__name__} is in no registry: register it')
    scope, name = found
    return name if scope == 'mmengine' else f'{scope}.{name}'
