"""One option says where the data are, for all of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError

SUFFIX = '_root'


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
    for key, folder in options.items():
        if '.' in key or not key.endswith(SUFFIX):
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
        for name, value in list(cfg.items()):
            cfg[name] = _moved(value, old.rstrip('/'), new)


def _moved(value: Any, old: str, new: str) -> Any:
    """A part of a config whose paths at the folder `old`, or below it, are at `new`."""
    if isinstance(value, dict):
        return type(value)({key: _moved(item, old, new) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, old, new) for item in value)
    if isinstance(value, str) and (value == old or value.startswith(f'{old}/')):
        return new.rstrip('/') + value[len(old) :]
    return value
