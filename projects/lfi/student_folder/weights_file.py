"""The file of a student's weights: what it says of itself, and reading it."""

from __future__ import annotations

from hashlib import sha256
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lfi.digests import hash_files
from lfi.fileio import holds_bytes
from lfi.repositories import CONFIG, WEIGHTS, HubError

from .bounded_build import Bounds


def bounds_of(path: Path) -> Bounds:
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
    if not holds_bytes(path):
        raise HubError(f'{path} is truncated, or was changed: it holds nothing. Fetch it again')
