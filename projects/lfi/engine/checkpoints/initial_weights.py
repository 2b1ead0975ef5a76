"""Initial weights that a config names for a part of its model (`init_cfg` of the type Pretrained)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lfi.errors import UsageError

from .reading import safe_checkpoint_loading
from .weight_files import read_checkpoint


def unfit_weights(module: nn.Module, weights: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Return the names of a module's parameters and buffers that weights lack, or have in another shape.

    Args:
        module: module that starts from the weights.
        weights: weights of a checkpoint by name.
        prefix: prefix of the module's weights in the checkpoint.
    """
    return [
        name
        for name, value in module.state_dict().items()
        if getattr(weights.get(prefix + name), 'shape', None) != value.shape
    ]


def check_initial_weights(model: nn.Module) -> None:
    """Check that local files of initial weights fit the modules of a model: MMEngine warns alone.

    Raises:
        UsageError: if a file lacks more than half of a module's weights.
    """
    for name, module in model.named_modules():
        for config in _pretrained_configs(getattr(module, 'init_cfg', None)):
            file = config.get('checkpoint')
            if not isinstance(file, str) or not Path(file).is_file():
                continue
            with safe_checkpoint_loading():
                weights = read_checkpoint(file)['state_dict']
            prefix = config.get('prefix') or ''
            unfit = unfit_weights(module, weights, prefix and f'{prefix.rstrip(".")}.')
            total = len(module.state_dict())
            if 2 * len(unfit) > total:
                raise UsageError(
                    f'model.{name}.init_cfg: {len(unfit)} of {total} weights of {type(module).__name__} are '
                    f'not in {file} or have another shape, such as {unfit[0]}: name weights of this model'
                )


def _pretrained_configs(init_cfg: Any) -> list[Mapping[str, Any]]:
    configs = init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]
    return [
        config for config in configs if isinstance(config, Mapping) and config.get('type') == 'Pretrained'
    ]
