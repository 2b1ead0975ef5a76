"""Initial weights of a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lfi.engine.checkpoints.reading import safe_checkpoint_loading
from lfi.engine.checkpoints.weight_files import read_checkpoint
from lfi.errors import UsageError, as_usage_error
from lfi.new_config.models import BaseModel


def weights_of(base: BaseModel, weights: str | None) -> dict[str, Any]:
    """Return the changes of a backbone's config for `--weights`.

    Args:
        base: model to start from.
        weights: address or file of a checkpoint, 'none', 'timm' for the weights that timm publishes, or None:
            unchanged.

    Raises:
        UsageError: if 'timm' is asked for a backbone that is not timm's, or the file cannot be read.
    """
    if weights is None:
        return {}
    if weights == 'none':
        return {'init_cfg': None, **_unfrozen(base.model['backbone'])}
    if weights == 'timm':
        if base.model['backbone']['type'] != 'TIMMBackbone':
            raise UsageError(
                f'--weights timm is for models of timm, and {base.model["backbone"]["type"]} is none: give a '
                'checkpoint of it'
            )
        return {'pretrained': True}
    file = Path(weights).expanduser()
    if '://' not in weights and not file.is_file():
        raise UsageError(f'--weights {weights}: there is no such file, and it is neither timm nor none')
    if '://' in weights:
        return {'init_cfg': {'type': 'Pretrained', 'checkpoint': weights}}
    checkpoint = str(file.resolve())
    return {'init_cfg': {'type': 'Pretrained', 'checkpoint': checkpoint, 'prefix': _prefix(checkpoint)}}


def _unfrozen(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that train a whole backbone: random stages must not stay frozen."""
    changes: dict[str, Any] = {}
    if backbone.get('frozen_stages', -1) >= 0:
        changes['frozen_stages'] = -1
    if backbone.get('norm_eval'):
        changes['norm_eval'] = False
    if (backbone.get('norm_cfg') or {}).get('requires_grad') is False:
        changes['norm_cfg'] = {'requires_grad': True}
    return changes


def _prefix(checkpoint: str) -> str | None:
    """Return the prefix of a backbone's weights in a file: that of a whole model, or None for a backbone.

    Raises:
        UsageError: if the file cannot be read.
    """
    with safe_checkpoint_loading(), as_usage_error(OSError, RuntimeError, ValueError):
        names = read_checkpoint(checkpoint)['state_dict']
    return 'backbone.' if any(name.startswith('backbone.') for name in names) else None
