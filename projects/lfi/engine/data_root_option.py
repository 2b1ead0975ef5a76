"""One option says where the data are, for all of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError
from lfi.utils.options import names_root

NAMES = (
    'background',
    'classes',
    'concepts',
    'domains',
    'extra',
    'name',
    'scope',
    'split',
    'templates',
    'texts',
    'type',
)
"""Keys under which no text is a path; a class or a split may be called as a folder is."""


def rebase_data_roots(cfg: Config, options: Mapping[str, Any]) -> None:
    """Let data loaders, metrics and concepts follow a `data_root` that `--cfg-options` sets.

    A config is read before the options change it, so its data sets have the folder that its own `data_root`
    names. All paths at that folder, or below it, move; what stands under one of `NAMES` is none. What else
    the options set does not move.

    Args:
        cfg: of the run, before the options are merged into it; changed in place.
        options: those of the command line. Other variables at the config's top whose names end in `_root`
            move likewise.

    Raises:
        UsageError: for a `data_root` that the config does not have, that is empty, or below which no path of
            the config lies.
    """
    roots = {}
    for key, folder in options.items():
        if not names_root(key):
            continue
        old = cfg.get(key)
        if not isinstance(old, str):
            raise UsageError(
                f'{key}={folder!r} changes nothing, for this config has no {key}: say which data set is '
                f'meant, as by train_dataloader.dataset.{key}'
            )
        # A number is a folder's name too.
        new = str(folder)
        if not new or not old:
            raise UsageError(f'{key}={folder!r} in place of {old!r}: both must name a folder')
        roots[_plain(old)] = new
    # All at once: the new folder of one may be the old one of another.
    used: set[str] = set()
    for name, value in list(cfg.items()):
        cfg[name] = _moved(value, name, roots, set() if name in options else used)
    if unused := roots.keys() - used:
        old = min(unused)
        raise UsageError(
            f'{roots[old]!r} in place of {old!r} changes nothing, for no path of the config lies there: say '
            'which data set is meant, as by train_dataloader.dataset.data_root'
        )


def _moved(value: Any, key: str, roots: Mapping[str, str], used: set[str]) -> Any:
    """A part of a config whose paths at an old folder, or below, are at its new one; the nearest counts.

    Args:
        value: the part.
        key: under which it stands.
        roots: the new folders, by the old ones.
        used: the old folders of the paths that have moved are added.
    """
    if isinstance(value, dict):
        return type(value)({name: _moved(item, name, roots, used) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, key, roots, used) for item in value)
    if not isinstance(value, str) or str(key).strip('_') in NAMES:
        return value
    below = {old: rest for old in roots if (rest := _below(value, old)) is not None}
    if not below:
        return value
    used.update(below)
    old = max(below, key=len)
    return roots[old].rstrip('/') + below[old]


def _below(path: str, folder: str) -> str | None:
    """What of a path comes after a folder, with the slash between them; None where it lies elsewhere."""
    if folder == '.':
        # Any relative path lies below it; only one that says so is known to be a path.
        return path[1:] if path == '.' or path.startswith('./') else None
    path = path.removeprefix('./')
    return path[len(folder) :] if path == folder or path.startswith(f'{folder}/') else None


def _plain(folder: str) -> str:
    return folder.rstrip('/').removeprefix('./') or folder[:1]
