"""One option says where the data are, for all of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError
from lfi.option_values import names_root


def spread_roots(cfg: Config, options: Mapping[str, Any]) -> None:
    """Let data loaders, metrics and concepts follow a `data_root` that `--cfg-options` sets.

    A config is read before the options change it, so its data sets have the folder that its own `data_root`
    names. All paths at that folder, or below it, move. What else the options set does not.

    Args:
        cfg: of the run, before the options are merged into it; changed in place.
        options: those of the command line. Other variables at the config's top whose names end in `_root`
            move likewise.

    Raises:
        UsageError: for a `data_root` that the config does not have, or that is empty.
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
        roots[old.rstrip('/')] = new
    # All at once: the new folder of one may be the old one of another.
    for name, value in list(cfg.items()):
        cfg[name] = _moved(value, roots)


def _moved(value: Any, roots: Mapping[str, str]) -> Any:
    """A part of a config whose paths at an old folder, or below, are at its new one; the nearest counts."""
    if isinstance(value, dict):
        return type(value)({key: _moved(item, roots) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, roots) for item in value)
    if not isinstance(value, str):
        return value
    above = [old for old in roots if value == old or value.startswith(f'{old}/')]
    if not above:
        return value
    old = max(above, key=len)
    return roots[old].rstrip('/') + value[len(old) :]
