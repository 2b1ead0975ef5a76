"""The files of a student's folder: a config as data that JSON holds, and weights that say what they are."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from math import prod
from pathlib import Path, PurePath
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lfi.errors import UsageError
from lfi.registry import registered_name
from lfi.utils.fileio import hash_files, is_nonempty_file
from lfi.utils.repositories import CONFIG, WEIGHTS, HubError

from .bounded_build import Bounds

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


def weight_bounds(path: Path) -> Bounds:
    """The bounds of a model that has the weights in a file, of which the header alone is read.

    Raises:
        HubError: if it is missing, or no file of safetensors.
    """
    _require(path)
    try:
        with safe_open(path, 'pt') as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except SafetensorError as error:
        raise HubError(f'{path} is not a file of safetensors: {error}') from error
    return Bounds.of_weights(len(shapes), sum(map(prod, shapes)))


def read_weights(path: Path, digest: str) -> dict[str, Tensor]:
    """Read weights, on the CPU.

    Args:
        path: their file.
        digest: sha256 of the file, as the config says it.

    Raises:
        HubError: if they are missing, corrupted, or not those of the config.
    """
    _require(path)
    found = hash_files(sha256(), path).hexdigest()
    if found != digest:
        raise HubError(
            f'{path} is truncated, or was changed: its sha256 is {found}, and {CONFIG} says {digest}. '
            'Fetch it again'
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise HubError(f'{path} is not a file of safetensors: {error}') from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise HubError(f'{path.parent} has no {WEIGHTS}: fetch it again')
    if not is_nonempty_file(path):
        raise HubError(f'{path} is truncated, or was changed: it holds nothing. Fetch it again')
