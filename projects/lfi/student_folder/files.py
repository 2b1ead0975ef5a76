"""Files of a student's folder: config parts as JSON data, and weights with a checksum."""

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
"""Only key of a dict that stands for a tuple: some types of OpenMMLab take no lists."""


def to_plain(value: Any, where: str) -> Any:
    """Convert a part of a config to JSON data.

    Args:
        value: value of dicts, lists, tuples, numbers, texts and None; a registered type becomes its name.
        where: name of the part in messages.

    Raises:
        UsageError: if there is another value, or a key that is no text.
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
        return _scoped_name(value, where)
    if isinstance(value, PurePath):
        return str(value)
    raise UsageError(f'{where}={value!r} is not plain data, and cannot be written as JSON')


def from_plain(value: Any) -> Any:
    """Convert JSON data of `to_plain` back to a part of a config."""
    if isinstance(value, dict):
        if value.keys() == {TUPLE} and isinstance(value[TUPLE], list):
            return tuple(map(from_plain, value[TUPLE]))
        return {key: from_plain(part) for key, part in value.items()}
    return list(map(from_plain, value)) if isinstance(value, list) else value


def _scoped_name(kind: type, where: str) -> str:
    """Return the registered name of a lazy config's type, with its scope."""
    registered = registered_name(kind)
    if registered is None:
        raise UsageError(f'{where}={kind.__module__}.{kind.__name__} is in no registry: register it')
    scope, name = registered
    return name if scope == 'mmengine' else f'{scope}.{name}'


def weight_bounds(path: Path) -> Bounds:
    """Return the bounds for a model with the weights in a file; only the file's header is read.

    Raises:
        HubError: if the file is missing, or no safetensors file.
    """
    _require_weights(path)
    try:
        with safe_open(path, 'pt') as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except SafetensorError as error:
        raise HubError(f'{path} is not a file of safetensors: {error}') from error
    return Bounds.of_weights(len(shapes), sum(map(prod, shapes)))


def read_weights(path: Path, digest: str) -> dict[str, Tensor]:
    """Read weights to the CPU.

    Args:
        path: path of the safetensors file.
        digest: sha256 of the file in the config.

    Raises:
        HubError: if the file is missing or corrupted, or has another sha256.
    """
    _require_weights(path)
    actual = hash_files(sha256(), path).hexdigest()
    if actual != digest:
        raise HubError(
            f'{path} is truncated, or was changed: its sha256 is {actual}, and {CONFIG} says {digest}. '
            'Fetch it again'
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise HubError(f'{path} is not a file of safetensors: {error}') from error


def _require_weights(path: Path) -> None:
    if not path.is_file():
        raise HubError(f'{path.parent} has no {WEIGHTS}: fetch it again')
    if not is_nonempty_file(path):
        raise HubError(f'{path} is truncated, or was changed: it is empty. Fetch it again')
