"""Side of a classifier's images: by the data, as far as the backbone takes it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from mmengine.registry import MODELS

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData
from lfi.new_config.settings import DESIGN_SIZE, Settings, default_input_size, typical_size


def choose_input_size(backbone: dict[str, Any], data: FoundData, settings: Settings) -> int:
    """Return the side of the images in pixels: that of the settings, or by the images.

    A backbone that takes no images of the size by the data gets 224 pixels, as it was designed for.

    Raises:
        UsageError: if the backbone takes no images of the size.
    """
    sizes = [settings.input_size or default_input_size(typical_size(data))]
    if settings.input_size is None and sizes[0] != DESIGN_SIZE:
        sizes.append(DESIGN_SIZE)
    for size in sizes:
        reason = _refusal(backbone, size)
        if reason is None:
            return size
    fix = '' if DESIGN_SIZE in sizes else f': leave out --input-size, or try {DESIGN_SIZE}'
    raise UsageError(f'the backbone takes no images of {size} pixels ({reason}){fix}')


def with_image_size(backbone: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the changes of a backbone that is built for images of one size."""
    return {'img_size': size} if backbone.get('img_size', size) != size else {}


def _refusal(backbone: dict[str, Any], size: int) -> str | None:
    """Return the error of a backbone at images of a size, or None if it takes them."""
    config = deepcopy({**backbone, **with_image_size(backbone, size), 'init_cfg': None})
    try:
        with MODELS.switch_scope_and_registry('mmpretrain') as registry, torch.no_grad():
            built = registry.build(config)
            built.eval()
            built(torch.zeros(1, 3, size, size))
    # Backbones raise errors of any type at images of another size.
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return None
