"""The option `data_root`, which moves all data of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError
from lfi.utils.options import is_root_option

NON_PATH_KEYS = (
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
"""Keys whose values are no paths. A class or a split may have the name of a folder."""


def rebase_data_roots(cfg: Config, options: Mapping[str, Any]) -> None:
    """Move the paths of a config to the `data_root` that `--cfg-options` sets.

    Data sets hold paths below the config's own `data_root`, because the config is read before the options
    apply. All paths at or below that folder move, except values of `NON_PATH_KEYS` and paths that other
    options set. Other top-level variables whose names end in `_root` move their paths in the same way.

    Args:
        cfg: config of the run before the options are merged, changed in place.
        options: options of the command line.

    Raises:
        UsageError: if the config has no such variable, the variable is empty, or no path lies below it.
    """
    roots = {}
    for key, folder in options.items():
        if not is_root_option(key):
            continue
        old = cfg.get(key)
        if not isinstance(old, str):
            raise UsageError(
                f'{key}={folder!r} changes nothing, because this config has no {key}: set the folder of a '
                f'data set, such as train_dataloader.dataset.{key}'
            )
        # The name of a folder may be a number.
        new = str(folder)
        if not new or not old:
            raise UsageError(f'{key}={folder!r} in place of {old!r}: both must name a folder')
        roots[_normalize(old)] = new
    # Move all paths in one pass: the new folder of one variable may be the old folder of another.
    used: set[str] = set()
    for name, value in list(cfg.items()):
        cfg[name] = _rebase(value, name, roots, set() if name in options else used)
    if unused := roots.keys() - used:
        old = min(unused)
        raise UsageError(
            f'{roots[old]!r} in place of {old!r} changes nothing, because no path of the config lies below '
            'the old folder: set the folder of a data set, such as train_dataloader.dataset.data_root'
        )


def _rebase(value: Any, key: str, roots: Mapping[str, str], used: set[str]) -> Any:
    """Return a part of a config whose paths have moved from old to new folders.

    A path below several old folders moves with the deepest one.

    Args:
        value: part of the config.
        key: key of the part.
        roots: old folder to new folder.
        used: old folders of the moved paths, extended in place.
    """
    if isinstance(value, dict):
        return type(value)({name: _rebase(item, name, roots, used) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_rebase(item, key, roots, used) for item in value)
    if not isinstance(value, str) or str(key).strip('_') in NON_PATH_KEYS:
        return value
    subpaths = {old: subpath for old in roots if (subpath := _subpath(value, old)) is not None}
    if not subpaths:
        return value
    used.update(subpaths)
    old = max(subpaths, key=len)
    return roots[old].rstrip('/') + subpaths[old]


def _subpath(path: str, folder: str) -> str | None:
    """Return the part of a path below a folder, with a leading slash; None if the path lies elsewhere."""
    if folder == '.':
        # All relative paths lie below `.`, but a text is known to be a path only if it begins with `./`.
        return path[1:] if path == '.' or path.startswith('./') else None
    path = path.removeprefix('./')
    return path[len(folder) :] if path == folder or path.startswith(f'{folder}/') else None


def _normalize(folder: str) -> str:
    return folder.rstrip('/').removeprefix('./') or folder[:1]
