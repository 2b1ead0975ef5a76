"""One option says where the data are, for all of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError
from lfi.option_values import names_root

FOLDERS = ('cache', 'dir', 'file', 'folder', 'path', 'root')
"""How the keys end under which a single word is a path."""


def spread_roots(cfg: Config, options: Mapping[str, Any]) -> None:
    """Let data loaders, metrics and concepts follow a `data_root` that `--cfg-options` sets.

    A config is read before the options change it, so its data sets have the folder that its own `data_root`
    names. All paths at that folder, or below it, move; a single word is a path only where its key ends in one
    of `FOLDERS`, for it may be a class or a split as well. What else the options set does not move.

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
    if not isinstance(value, str) or ('/' not in value and not str(key).endswith(FOLDERS)):
        return value
    path = _plain(value)
    above = [old for old in roots if path == old or path.startswith(f'{old}/')]
    if not above:
        return value
    old = max(above, key=len)
    used.add(old)
    return roots[old].rstrip('/') + value.removeprefix('./')[len(old) :]


def _plain(path: str) -> str:
    return path.removeprefix('./').rstrip('/')
