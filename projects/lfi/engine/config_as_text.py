"""Conversion of lazy configs to text configs."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError
from lfi.registry import registered_name


def text_config(cfg: Config) -> Config:
    """Return a config that names its types by strings. A lazy config holds the types themselves.

    Raises:
        UsageError: If the config holds a class or a function under another key than `type`.
    """
    # `to_dict` drops the imports of a lazy config.
    return Config({key: _to_text(cfg[key], key) for key in cfg.to_dict()})


def _to_text(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {
            key: _type_name(part) if key == 'type' and callable(part) else _to_text(part, f'{where}.{key}')
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_to_text(part, f'{where}.{index}') for index, part in enumerate(value))
    if callable(value):
        raise UsageError(f'{where}={value!r} cannot be written into a text config: name it by a string')
    return value


def _type_name(kind: Any) -> str:
    """Return the name with its scope, or the import path of a type that is in no registry."""
    return '.'.join(registered_name(kind) or (kind.__module__, kind.__qualname__))
