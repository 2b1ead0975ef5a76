"""Families of open_clip's models: which extractors fit, and which one is taken, by the config alone."""

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

FIRST: dict[Pool, str] = {'class token': 'clearclip', 'attention': 'maskclip', 'mean': 'dense'}
"""The extractor that 'auto' takes for a vision transformer, by its pool."""
VIT_MODULES = ('vision_transformer', 'vision_transformer_hybrid', 'deit', 'eva', 'vitamin')
"""The modules of timm whose transformers `TimmViT` reads."""
CUSTOM_BLOCK = ('qk_norm', 'scaled_cosine_attn', 'scale_heads', 'scale_attn_inner', 'scale_attn', 'scale_fc')
"""What gives open_clip's own ViT blocks that `OpenClipViT` does not read."""


@dataclass(frozen=True)
class Family:
    """A family of models that are read alike.

    Args:
        name: as 'SigLIP' or 'ConvNeXt'.
        pool: what brings the locations together.
        extractors: those that fit, and first the one that 'auto' takes; none where no extractor fits.
    """

    name: str
    pool: Pool
    extractors: tuple[str, ...]


def of_transformer(pool: Pool) -> tuple[str, ...]:
    """The extractors that fit a vision transformer, the one that 'auto' takes first.

    Args:
        pool: of the transformer.
    """
    EXTRACTORS.import_from_location()
    kinds = EXTRACTORS.module_dict.items()
    fitting = {'dense', *(name for name, kind in kinds if issubclass(kind, TransformerExtractor))}
    return (FIRST[pool], *sorted(fitting - {FIRST[pool]}))


def family_of(config: Mapping[str, Any]) -> Family:
    """Find the family of an open_clip model. No weights are made.

    'auto' takes, by what brings the locations together:

    - a class token: 'clearclip', as our configs do; docs/teachers.md has its authors' numbers.
    - an attention of its own (ResNet, SigLIP, PE-Core): 'maskclip', which was published for that pool (Zhou
      et al., ECCV 2022, section 3.2). We measured none of these.
    - a mean (CNNs, ViTamin, CLIPA): 'dense', as class activation maps are read (Zhou et al., CVPR 2016). Of
      these we measured CNNs with a linear head alone.
    - CoCa: 'coca'.

    Args:
        config: of `open_clip.get_model_config`, or the `model_cfg` of an `open_clip_config.json`.

    Raises:
        KeyError, TypeError: if it is none of an open_clip model.
        ValueError: if timm does not know the image tower.
    """
    vision, text = CLIPVisionCfg(**config['vision_cfg']), config['text_cfg']
    if 'multimodal_cfg' in config:
        readable = vision.attentional_pool is True and not text.get('hf_model_name')
        return Family('CoCa', 'attention', ('coca',) if readable else ())
    if vision.timm_model_name:
        return _of_timm(vision, text)
    if isinstance(vision.layers, (list, tuple)):
        return Family('ResNet (attention pool)', 'attention', ('maskclip', 'dense'))
    return _of_open_clip(vision)


def _of_open_clip(vision: CLIPVisionCfg) -> Family:
    custom = vision.block_type == 'custom' or any(getattr(vision, name) for name in CUSTOM_BLOCK)
    if custom or vision.attentional_pool or vision.pool_type not in ('tok', 'avg'):
        return Family('other ViT', 'attention' if vision.attentional_pool else 'class token', ())
    if vision.pool_type == 'avg':
        return Family('CLIPA', 'mean', of_transformer('mean'))
    return Family('CLIP ViT', 'class token', of_transformer('class token'))


def _of_timm(vision: CLIPVisionCfg, text: Mapping[str, Any]) -> Family:
    trunk = vision.timm_model_name
    if not timm.is_model(trunk):
        raise ValueError(f'vision_cfg.timm_model_name={trunk!r} is not a model of timm {timm.__version__}')
    module = timm.models.model_entrypoint(trunk).__module__.rpartition('.')[2]
    # A distilled one has two heads, and a class of its own.
    if module in VIT_MODULES and 'distilled' not in trunk:
        pool = POOLS.get(vision.timm_pool) or (_own_pool(trunk, module) if vision.timm_proj else None)
        name = _name_of_vit(trunk, module, text)
        return Family(name, pool or 'class token', of_transformer(pool) if pool else ())
    # timm notes the size of the map of features of what has one.
    has_map = getattr(timm.get_pretrained_cfg(trunk), 'pool_size', None) is not None
    averages = vision.timm_pool == 'avg' or (not vision.timm_pool and bool(vision.timm_proj))
    names = {'fastvit': 'MobileCLIP (FastViT)', 'convnext': 'ConvNeXt'}
    name = names.get(module, 'other CNN' if has_map else 'other')
    return Family(name, 'mean', ('dense',) if has_map and averages else ())


def _own_pool(trunk: str, module: str) -> Pool | None:
    """The pool that timm gives a transformer which open_clip leaves it."""
    if module == 'vitamin':
        return 'mean'
    with torch.device('meta'):
        built: Any = timm.create_model(trunk)
    return POOLS.get(built.global_pool)


def _name_of_vit(trunk: str, module: str, text: Mapping[str, Any]) -> str:
    if 'siglip' in trunk:
        # The towers are alike; the texts' vocabulary is not.
        return 'SigLIP 2' if 'siglip2' in str(text.get('hf_tokenizer_name')).lower() else 'SigLIP'
    if 'pe_core' in trunk:
        return 'PE-Core'
    if module in ('eva', 'vitamin'):
        return {'eva': 'EVA', 'vitamin': 'ViTamin'}[module]
    return 'MobileCLIP (ViT)' if '_mci_' in trunk or '_clip_' in trunk else 'other ViT'


AUTO = 'auto'
OF_PREFIX = {BLIP: 'blip', GENERATIVE: 'generative'}
"""What 'auto' takes for a model of another project, by how the model's name begins."""
OF_OWN = 'own-locations'
"""What 'auto' takes for a dual encoder of one's own."""


def chosen_extractor(extractor: Any, model: str | Mapping[str, Any] | None) -> Any:
    """The config of the extractor that a teacher's argument asks for.

    Args:
        extractor: `dict(type=..., ...)`, the name of an extractor alone, or 'auto' in either place: the one
            for the family of the model (`family_of`).
        model: of the teacher, as `load_vlm` takes it; None for a teacher without one.

    Returns:
        `dict(type=..., ...)`. What is neither name nor dict is returned as it is, for `type_of` to refuse.

    Raises:
        FileNotFoundError: for 'auto', if the model's folder or its config is missing.
        ValueError: for 'auto', if no extractor fits the model, the model is unknown, or options are given.
    """
    config = dict(type=extractor) if isinstance(extractor, str) else extractor
    if not isinstance(config, dict) or config.get('type') != AUTO:
        return config
    options = sorted(set(config) - {'type'})
    if options:
        raise ValueError(f"extractor 'auto' takes no options, got {options}: name the extractor they are of")
    if model is None:
        raise ValueError("extractor 'auto' needs a teacher with a model: name an extractor")
    return dict(type=_automatic(model))


def _automatic(model: str | Mapping[str, Any]) -> str:
    if isinstance(model, Mapping):
        return OF_OWN
    of_prefix = (name for prefix, name in OF_PREFIX.items() if model.startswith(prefix))
    return next(of_prefix, None) or _of_family(model)


def _of_family(model: str) -> str:
    try:
        family = family_of(open_clip_config(model))
    except (KeyError, TypeError) as error:
        raise ValueError(f'model={model!r} has no config of an open_clip model: {error!r}') from error
    if not family.extractors:
        raise ValueError(
            f"extractor 'auto' finds none that fits model={model!r} ({family.name}): docs/teachers.md lists "
            'the families that can be read, and how to write an extractor of your own'
        )
    return family.extractors[0]
