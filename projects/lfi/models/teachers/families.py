"""Families of open_clip's models, and the extractors that fit them, from the config alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
from open_clip import CLIPVisionCfg

from lfi.registry import EXTRACTORS

from .extractors.transformer import TransformerExtractor
from .generative.folder import GENERATIVE
from .loading.weights import BLIP
from .model_config import open_clip_config
from .towers import POOLS, Pool

DEFAULT_EXTRACTORS: dict[Pool, str] = {'class token': 'clearclip', 'attention': 'maskclip', 'mean': 'dense'}
"""The extractor that 'auto' selects for a vision transformer, by its pool."""
VIT_MODULES = ('vision_transformer', 'vision_transformer_hybrid', 'deit', 'eva', 'vitamin')
"""Modules of timm whose transformers `TimmViT` reads."""
CUSTOM_BLOCK = ('qk_norm', 'scaled_cosine_attn', 'scale_heads', 'scale_attn_inner', 'scale_attn', 'scale_fc')
"""Options of open_clip's own ViT that create blocks which `OpenClipViT` cannot read."""


@dataclass(frozen=True)
class Family:
    """A group of models for which the same extractors fit.

    Args:
        name: name of the family, such as 'SigLIP' or 'ConvNeXt'.
        pool: kind of the pool over locations.
        extractors: names of the extractors that fit, the one that 'auto' selects first. Empty if none fits.
    """

    name: str
    pool: Pool
    extractors: tuple[str, ...]


def transformer_extractors(pool: Pool) -> tuple[str, ...]:
    """Names of the extractors that fit a vision transformer, the one that 'auto' selects first.

    Args:
        pool: kind of the pool of the transformer.
    """
    EXTRACTORS.import_from_location()
    kinds = EXTRACTORS.module_dict.items()
    fitting = {'dense', *(name for name, kind in kinds if issubclass(kind, TransformerExtractor))}
    return (DEFAULT_EXTRACTORS[pool], *sorted(fitting - {DEFAULT_EXTRACTORS[pool]}))


def family_of(config: Mapping[str, Any]) -> Family:
    """Find the family of an open_clip model without creating weights.

    'auto' selects an extractor by the pool over locations:

    - class token: 'clearclip', as in our configs. research/teachers.md has ClearCLIP's numbers.
    - attention pool (ResNet, SigLIP, PE-Core): 'maskclip', which was published for attention pools (Zhou et
      al., ECCV 2022, section 3.2). We measured no such model.
    - mean (CNNs, ViTamin, CLIPA): 'dense', as in class activation maps (Zhou et al., CVPR 2016). We measured
      only CNNs with a linear head.
    - CoCa: 'coca'.

    Args:
        config: config from `open_clip.get_model_config`, or the `model_cfg` of an `open_clip_config.json`.

    Raises:
        KeyError, TypeError: if `config` is no config of an open_clip model.
        ValueError: if timm does not know the image tower.
    """
    vision, text = CLIPVisionCfg(**config['vision_cfg']), config['text_cfg']
    if 'multimodal_cfg' in config:
        readable = vision.attentional_pool is True and not text.get('hf_model_name')
        return Family('CoCa', 'attention', ('coca',) if readable else ())
    if vision.timm_model_name:
        return _timm_family(vision, text)
    if isinstance(vision.layers, (list, tuple)):
        return Family('ResNet (attention pool)', 'attention', ('maskclip', 'dense'))
    return _open_clip_family(vision)


def _open_clip_family(vision: CLIPVisionCfg) -> Family:
    custom = vision.block_type == 'custom' or any(getattr(vision, name) for name in CUSTOM_BLOCK)
    if custom or vision.attentional_pool or vision.pool_type not in ('tok', 'avg'):
        return Family('other ViT', 'attention' if vision.attentional_pool else 'class token', ())
    if vision.pool_type == 'avg':
        return Family('CLIPA', 'mean', transformer_extractors('mean'))
    return Family('CLIP ViT', 'class token', transformer_extractors('class token'))


def _timm_family(vision: CLIPVisionCfg, text: Mapping[str, Any]) -> Family:
    trunk = vision.timm_model_name
    if not timm.is_model(trunk):
        raise ValueError(f'vision_cfg.timm_model_name={trunk!r} is not a model of timm {timm.__version__}')
    module = timm.models.model_entrypoint(trunk).__module__.rpartition('.')[2]
    # Distilled models have two heads and another class.
    if module in VIT_MODULES and 'distilled' not in trunk:
        pool = POOLS.get(vision.timm_pool) or (_own_pool(trunk, module) if vision.timm_proj else None)
        name = _name_of_vit(trunk, module, text)
        return Family(name, pool or 'class token', transformer_extractors(pool) if pool else ())
    # timm gives `pool_size` for trunks with a feature map.
    has_map = getattr(timm.get_pretrained_cfg(trunk), 'pool_size', None) is not None
    averages = vision.timm_pool == 'avg' or (not vision.timm_pool and bool(vision.timm_proj))
    names = {'fastvit': 'MobileCLIP (FastViT)', 'convnext': 'ConvNeXt'}
    name = names.get(module, 'other CNN' if has_map else 'other')
    return Family(name, 'mean', ('dense',) if has_map and averages else ())


def _own_pool(trunk: str, module: str) -> Pool | None:
    """Pool of a timm transformer if open_clip's config does not set one."""
    if module == 'vitamin':
        return 'mean'
    with torch.device('meta'):
        model: Any = timm.create_model(trunk)
    return POOLS.get(model.global_pool)


def _name_of_vit(trunk: str, module: str, text: Mapping[str, Any]) -> str:
    if 'siglip' in trunk:
        # SigLIP and SigLIP 2 have the same towers and different text vocabularies.
        return 'SigLIP 2' if 'siglip2' in str(text.get('hf_tokenizer_name')).lower() else 'SigLIP'
    if 'pe_core' in trunk:
        return 'PE-Core'
    if module in ('eva', 'vitamin'):
        return {'eva': 'EVA', 'vitamin': 'ViTamin'}[module]
    return 'MobileCLIP (ViT)' if '_mci_' in trunk or '_clip_' in trunk else 'other ViT'


AUTO = 'auto'
EXTRACTOR_BY_PREFIX = {BLIP: 'blip', GENERATIVE: 'generative'}
"""The extractor that 'auto' selects for models of other projects, by the prefix of the model's name."""
DUAL_ENCODER_EXTRACTOR = 'own-locations'
"""The extractor that 'auto' selects for a custom dual encoder."""


def resolve_extractor(extractor: Any, model: str | Mapping[str, Any] | None) -> Any:
    """Resolve a teacher's `extractor` argument to the config of an extractor.

    Args:
        extractor: `dict(type=..., ...)` or the name of an extractor. 'auto' in either form selects the
            extractor for the family of the model (`family_of`).
        model: model of the teacher, as `load_vlm` takes it. None for a teacher without a model.

    Returns:
        `dict(type=..., ...)`. A value of another type is returned unchanged, for `resolve_type` to refuse.

    Raises:
        FileNotFoundError: for 'auto', if the model's folder or its config is missing.
        ValueError: for 'auto', if no extractor fits the model, the model is unknown, or options are given.
    """
    config = dict(type=extractor) if isinstance(extractor, str) else extractor
    if not isinstance(config, dict) or config.get('type') != AUTO:
        return config
    options = sorted(set(config) - {'type'})
    if options:
        raise ValueError(f"extractor 'auto' takes no options, got {options}: name an extractor")
    if model is None:
        raise ValueError("extractor 'auto' needs a teacher with a model: name an extractor")
    return dict(type=_auto_extractor(model))


def _auto_extractor(model: str | Mapping[str, Any]) -> str:
    if isinstance(model, Mapping):
        return DUAL_ENCODER_EXTRACTOR
    names = (name for prefix, name in EXTRACTOR_BY_PREFIX.items() if model.startswith(prefix))
    return next(names, None) or _family_extractor(model)


def _family_extractor(model: str) -> str:
    try:
        family = family_of(open_clip_config(model))
    except (KeyError, TypeError) as error:
        raise ValueError(f'model={model!r} has no config of an open_clip model: {error!r}') from error
    if not family.extractors:
        raise ValueError(
            f"extractor 'auto' finds no match for model={model!r} ({family.name}): docs/teachers.md lists "
            'the families that can be read, and how to write an extractor of your own'
        )
    return family.extractors[0]
