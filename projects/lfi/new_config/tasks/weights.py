"""Initial weights of a backbone."""

from __future__ import annotations

from typing import Any

from lfi.errors import UsageError
from lfi.new_config.models import BaseModel


def weights_of(base: BaseModel, weights: str | None) -> dict[str, Any]:
    """Return the changes of a backbone's config for `--weights`.

    Args:
        base: model to start from.
        weights: checkpoint, 'none', 'timm' for the weights that timm publishes, or None: unchanged.

    Raises:
        UsageError: if 'timm' is asked for a backbone that is not timm's.
    """
    if weights is None:
        return {}
    if weights == 'none':
        return {'init_cfg': None}
    if weights == 'timm':
        if base.model['backbone']['type'] != 'TIMMBackbone':
            raise UsageError(
                f'--weights timm is for models of timm, and {base.model["backbone"]["type"]} is none: give a '
                'checkpoint of it'
            )
        return {'pretrained': True}
    return {'init_cfg': {'type': 'Pretrained', 'checkpoint': weights}}
