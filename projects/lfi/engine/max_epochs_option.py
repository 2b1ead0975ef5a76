"""The option `max_epochs`, which changes the length of a training with its schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from lfi.errors import UsageError, as_usage_error
from lfi.utils.config_types import type_name
from lfi.utils.options import check_whole

EPOCH_OPTIONS = ('end', 'T_max', 'switch_epoch', 'num_last_epochs')
"""Options of schedulers and hooks that count epochs, beside `begin` and `milestones`."""


def set_max_epochs(cfg: Config, options: Mapping[str, Any]) -> None:
    """Apply the option `max_epochs` to the loop, the schedulers and the hooks of a config.

    The variable alone would change nothing: the config has used its value when it was read. Epochs at which
    schedulers and hooks begin, end or switch move in proportion.

    Args:
        cfg: config of the run before the options are merged, changed in place.
        options: options of the command line.

    Raises:
        UsageError: if the config has no variable `max_epochs` that is the length of the training, or the
            option is no whole number above 0.
    """
    if 'max_epochs' not in options:
        return
    new: Any = options['max_epochs']
    loop: Any = cfg.get('train_cfg') or {}
    if 'max_epochs' not in cfg or loop.get('max_epochs') != cfg.max_epochs:
        raise UsageError(
            f'--cfg-options max_epochs={new}: train_cfg takes its epochs from no variable max_epochs; write '
            f'train_cfg.max_epochs={new}, and change the epochs of param_scheduler'
        )
    scale_epochs(cfg, new)


def scale_epochs(cfg: Config, max_epochs: int) -> None:
    """Set the length of a training. Its schedulers and hooks move in proportion.

    Args:
        cfg: config of the run, changed in place.
        max_epochs: new number of epochs.

    Raises:
        UsageError: if the number is no whole number above 0, or the training does not count epochs.
    """
    with as_usage_error(ValueError):
        check_whole(1, max_epochs=max_epochs)
    loop: Any = cfg.get('train_cfg') or {}
    if not isinstance(loop.get('max_epochs'), int):
        raise UsageError(
            f'epochs {max_epochs}: train_cfg counts iterations: set train_cfg.max_iters, and the iterations '
            'of param_scheduler'
        )
    factor = max_epochs / loop['max_epochs']
    loop['max_epochs'] = max_epochs
    if 'max_epochs' in cfg:
        cfg.max_epochs = max_epochs
    for name in ('param_scheduler', 'custom_hooks'):
        configs = cfg.get(name) or []
        for config in configs if isinstance(configs, list) else [configs]:
            if config.get('by_epoch', True):
                config.update(scaled_epochs(config, factor))


def scaled_epochs(config: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the config of a scheduler or hook with all its epochs multiplied by a factor."""
    scaled = dict(config)
    for option in EPOCH_OPTIONS:
        if isinstance(config.get(option), int) and config[option] > 0:
            scaled[option] = max(1, round(factor * config[option]))
    if config.get('begin'):
        # A scheduler may begin with the first epoch, and must end later.
        scaled['begin'] = int(factor * config['begin'])
    if 'milestones' in config:
        scaled['milestones'] = [max(1, round(factor * epoch)) for epoch in config['milestones']]
    return _with_end_of_warmup(scaled)


def _with_end_of_warmup(config: dict[str, Any]) -> dict[str, Any]:
    """Return a scheduler whose warm-up ends: MMEngine's (0.10) keeps its first rate if it has one step."""
    begin, end = config.get('begin', 0), config.get('end')
    if (
        type_name(config) != 'LinearLR'
        or end is None
        or end - begin >= 2
        or config.get('convert_to_iter_based')
    ):
        return config
    if config.get('by_epoch', True):
        return {**config, 'convert_to_iter_based': True}
    return {**config, 'end': begin + 2}
