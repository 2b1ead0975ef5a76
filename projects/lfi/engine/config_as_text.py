"""A config whose types are named by strings."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError
from lfi.registry import registered_name


def text_config(cfg: Config) -> Config:
    """A config whose types are named by strings: a lazy config holds the types themselves.

    Raises:
        UsageError: If it holds a class or a function elsewhere, which no text config can.
    """
    # A lazy config's imports are no part of it.
    return Config({key: _named(cfg[key], key) for key in cfg.to_dict()})


def _named(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {
            key: _name_of(part) if key == 'type' and callable(part) else _named(part, f'{where}.{key}')
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_named(part, f'{where}.{index}') for index, part in enumerate(value))
    if callable(value):
        raise UsageError(f'{where}={value!r} cannot be written into a text config: name it by a string')
    return value


def _name_of(kind: Any) -> str:
    """With its scope, since others may have the name too; MMEngine imports what is in no registry."""
    return '.'.join(registered_name(kind) or (kind.__module__, kind.__qualname__))
