"""Initial weights of a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from mmengine.registry import MODELS, DefaultScope

from lfi.engine.checkpoints.initial_weights import unfit_weights
from lfi.engine.checkpoints.reading import safe_checkpoint_loading
from lfi.engine.checkpoints.weight_files import read_checkpoint
from lfi.errors import UsageError, as_usage_error
from lfi.new_config.models import BaseModel

MAX_UNFIT = 0.1
"""Largest share of a backbone's weights that a checkpoint may lack, such as final norms."""


def weights_of(base: BaseModel, weights: str | None) -> dict[str, Any]:
    """Return the changes of a backbone's config for `--weights`.

    Args:
        base: model to start from.
        weights: address or file of a checkpoint, 'none', 'timm' for the weights that timm publishes, or None:
            unchanged.

    Raises:
        UsageError: if 'timm' is asked for a backbone that is not timm's, the file cannot be read, or lacks
            more than a tenth of the backbone's weights.
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
    if '://' in weights:
        return {'init_cfg': {'type': 'Pretrained', 'checkpoint': weights}}
    if not _is_file(weights):
        raise UsageError(f'--weights {weights}: there is no such file, and it is neither timm nor none')
    checkpoint = str(Path(weights).expanduser().resolve())
    prefix = _check_fit(base, checkpoint)
    return {'init_cfg': {'type': 'Pretrained', 'checkpoint': checkpoint, 'prefix': prefix}}


def is_pretrained_vit(base: BaseModel, weights: str | None) -> bool:
    """Whether `--weights` is a ViT that LFI pretrained without labels, which trains no class token."""
    if base.model['backbone']['type'] != 'VisionTransformer' or not weights or not _is_file(weights):
        return False
    parts = {name.partition('.')[0] for name in _read_weights(str(Path(weights).expanduser()))}
    return 'readout' in parts and 'head' not in parts


def starts_random(backbone: Mapping[str, Any]) -> bool:
    """Whether a backbone's config names no initial weights."""
    return backbone.get('pretrained') is not True and not _checkpoints(backbone)


def _checkpoints(backbone: Mapping[str, Any]) -> list[Any]:
    init_cfg = backbone.get('init_cfg') or ()
    steps = init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]
    return [step['checkpoint'] for step in steps if step.get('type') == 'Pretrained']


def describe_weights(backbone: Mapping[str, Any], name: str) -> str:
    """Describe the initial weights of a backbone, and name those of timm if it has the same model.

    Args:
        backbone: config of the backbone.
        name: name of the model, as the user gave it.
    """
    if backbone.get('pretrained') is True:
        return 'those that timm publishes'
    if not starts_random(backbone):
        return str(_checkpoints(backbone)[0])
    twin = name.replace('-', '_')
    if backbone.get('type') != 'TIMMBackbone' and timm.is_model_pretrained(twin):
        return f'random; --model timm/{twin} --weights timm would start from published ones'
    return 'random, since no checkpoint was named'


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


def _check_fit(base: BaseModel, checkpoint: str) -> str | None:
    """Check that a file has weights of a backbone.

    Returns:
        Prefix of the backbone's weights in the file: that of a whole model, or None for a backbone.

    Raises:
        UsageError: if the file cannot be read, or lacks more than a tenth of the backbone's weights.
    """
    found = _read_weights(checkpoint)
    prefix = 'backbone.' if any(name.startswith('backbone.') for name in found) else ''
    backbone = {**base.model['backbone'], 'init_cfg': None}
    if backbone['type'] == 'TIMMBackbone':
        backbone['pretrained'] = False
    with DefaultScope.overwrite_default_scope(_scope_of(base)), torch.random.fork_rng(devices=[]):
        module = MODELS.build(backbone)
    unfit, expected = unfit_weights(module, found, prefix), module.state_dict()
    if len(unfit) > MAX_UNFIT * len(expected):
        raise UsageError(
            f'--weights {checkpoint}: {len(unfit)} of the {len(expected)} weights of '
            f'{base.model["backbone"]["type"]} are not in it or have another shape, such as {unfit[0]} of '
            f'{tuple(expected[unfit[0]].shape)}: give weights of this model'
        )
    return prefix or None


def _is_file(weights: str) -> bool:
    return '://' not in weights and Path(weights).expanduser().is_file()


def _read_weights(checkpoint: str) -> Mapping[str, Any]:
    with safe_checkpoint_loading(), as_usage_error(OSError, RuntimeError, ValueError):
        weights: Mapping[str, Any] = read_checkpoint(checkpoint)['state_dict']
    return weights


def _scope_of(base: BaseModel) -> str:
    """Return the scope of a model's types: that of its config's project, or mmpretrain."""
    if base.base is not None and '::' in base.base:
        return base.base.partition('::')[0]
    scope: str = base.model.get('_scope_', 'mmpretrain')
    return scope
