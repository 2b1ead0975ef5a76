"""Initial weights of a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lfi.errors import UsageError
from lfi.new_config.models import BaseModel


def weights_of(base: BaseModel, weights: str | None) -> dict[str, Any]:
    """Return the changes of a backbone's config for `--weights`.

    Args:
        base: model to start from.
        weights: address or file of a checkpoint, 'none', 'timm' for the weights that timm publishes, or None:
            unchanged.

    Raises:
        UsageError: if 'timm' is asked for a backbone that is not timm's, or the file does not exist.
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
    file = Path(weights).expanduser()
    if '://' not in weights and not file.is_file():
        raise UsageError(f'--weights {weights}: there is no such file, and it is neither timm nor none')
    checkpoint = weights if '://' in weights else str(file.resolve())
    return {'init_cfg': {'type': 'Pretrained', 'checkpoint': checkpoint}}
