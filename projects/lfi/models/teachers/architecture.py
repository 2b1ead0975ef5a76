"""Whether two of open_clip's model configs describe one architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from open_clip import CLIPTextCfg, CLIPVisionCfg
from open_clip.coca_model import MultimodalCfg

PARTS = dict(vision_cfg=CLIPVisionCfg, text_cfg=CLIPTextCfg, multimodal_cfg=MultimodalCfg)
"""The parts of a model config, by the classes that have their defaults."""
OTHER = ('quick_gelu', 'init_logit_scale', 'init_logit_bias')
"""What a model config says beside the architecture: the activation, and where training starts."""
OTHER_OF_PARTS = (
    'patch_dropout',
    'timm_model_pretrained',
    'timm_drop',
    'timm_drop_path',
    'hf_model_pretrained',
)
"""Likewise of its parts: what holds in training, or before it."""


def architecture_difference(config: Mapping[str, Any], model: Mapping[str, Any]) -> str | None:
    """The first field in which a config differs from a model's, with both values; None if there is none.

    A field that is left out has open_clip's default.

    Args:
        config: the `model_cfg` of an `open_clip_config.json`.
        model: open_clip's own config of a named model.

    Raises:
        KeyError, TypeError: if `config` is none of an open_clip model.
    """
    its, own = _fields(config), _fields(model)
    names = sorted({*its, *own})
    return next(
        (
            f'{name} is {its.get(name)!r}, not {own.get(name)!r}'
            for name in names
            if its.get(name) != own.get(name)
        ),
        None,
    )


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the architecture by dotted names, defaults included."""
    fields = {key: value for key, value in config.items() if key not in (*OTHER, *PARTS)}
    fields['embed_dim'] = config['embed_dim']
    for part, kind in PARTS.items():
        if part == 'multimodal_cfg' and part not in config:
            continue
        for key, value in asdict(kind(**config[part])).items():
            if key not in OTHER_OF_PARTS:
                fields[f'{part}.{key}'] = list(value) if isinstance(value, tuple) else value
    return fields
