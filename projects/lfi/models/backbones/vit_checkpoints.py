"""Conversion of ViT checkpoints between the names of other projects and of `InteractionQueryViT`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isqrt

import torch
from torch import Tensor

# (foreign prefix, our prefix) of parameter names; {} is the block's number.
TIMM = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.', 'patch_embed.projection.'),
    ('norm_pre.', 'pre_norm.'),
    ('blocks.{}.norm1.', 'layers.{}.ln1.'),
    ('blocks.{}.attn.qkv.', 'layers.{}.attn.qkv.'),
    ('blocks.{}.attn.proj.', 'layers.{}.attn.proj.'),
    ('blocks.{}.ls1.gamma', 'layers.{}.attn.gamma1.weight'),
    ('blocks.{}.norm2.', 'layers.{}.ln2.'),
    ('blocks.{}.mlp.fc1.', 'layers.{}.ffn.layers.0.0.'),
    ('blocks.{}.mlp.fc2.', 'layers.{}.ffn.layers.1.'),
    ('blocks.{}.ls2.gamma', 'layers.{}.ffn.gamma2.weight'),
    ('norm.', 'ln1.'),
)
VITDET = (*TIMM, ('blocks.{}.attn.rel_pos_', 'layers.{}.relative_position.rel_pos_'))
CLIP = (
    ('class_embedding', 'cls_token'),
    ('positional_embedding', 'pos_embed'),
    ('conv1.', 'patch_embed.projection.'),
    ('ln_pre.', 'pre_norm.'),
    ('transformer.resblocks.{}.ln_1.', 'layers.{}.ln1.'),
    ('transformer.resblocks.{}.attn.in_proj_', 'layers.{}.attn.qkv.'),
    ('transformer.resblocks.{}.attn.out_proj.', 'layers.{}.attn.proj.'),
    ('transformer.resblocks.{}.ln_2.', 'layers.{}.ln2.'),
    ('transformer.resblocks.{}.mlp.c_fc.', 'layers.{}.ffn.layers.0.0.'),
    ('transformer.resblocks.{}.mlp.c_proj.', 'layers.{}.ffn.layers.1.'),
    ('ln_post.', 'ln1.'),
)
FORMATS = {'timm': TIMM, 'clip': CLIP, 'vitdet': VITDET}
# Prefixes of all names in published files, longest first.
PREFIXES = {'timm': ('',), 'clip': ('visual.', ''), 'vitdet': ('backbone.net.', 'backbone.', '')}
# Prefix of the parameters of `lfi.ConvStem`.
STEM = 'patch_embed.layers.'


def detect_format(state: Mapping[str, Tensor]) -> str | None:
    """Return the format of a state dict: 'timm' (also DeiT and MAE), 'clip', 'vitdet', or None."""
    if any(re.search(r'resblocks\.0\.attn\.in_proj_weight$', name) for name in state):
        return 'clip'
    if any(re.search(r'(^|\.)blocks\.0\.attn\.rel_pos_h$', name) for name in state):
        return 'vitdet'
    if any(re.match(r'blocks\.0\.attn\.qkv\.weight$', name) for name in state):
        return 'timm'
    return None


def to_lfi(state: Mapping[str, Tensor], form: str) -> tuple[dict[str, Tensor], list[str]]:
    """Convert a foreign state dict to our parameter names.

    Args:
        state: state dict of DeiT, MAE or another ViT of timm ('timm'), of OpenAI's or open_clip's CLIP
            ('clip'), or of detectron2's or mmdet's ViTDet ('vitdet').
        form: format of the state dict, one of `FORMATS`.

    Returns:
        State dict for `InteractionQueryViT`, and the foreign names without a counterpart, such as heads.
        CLIP's weights need `pre_norm=True` and `patch_cfg=dict(bias=False)`, OpenAI's also QuickGELU.
        ViTDet's need `with_cls_token=False`, `final_norm=False`, `use_rel_pos=True` and windows, for ViT-B
        `window_size=14` and `global_attn_layers=(2, 5, 8, 11)`.
    """
    rename = _renamer(list(FORMATS[form]))
    prefix = next(
        p for p in PREFIXES[form] if any(rename(n.removeprefix(p)) for n in state if n.startswith(p))
    )
    converted, unmatched = {}, []
    for name, value in state.items():
        new_name = rename(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if new_name is None:
            unmatched.append(name)
        else:
            converted[new_name] = value
    if form == 'clip':
        converted['cls_token'] = converted['cls_token'].reshape(1, 1, -1)
        converted['pos_embed'] = converted['pos_embed'][None]
    if form == 'vitdet' and _has_class_row(converted['pos_embed']):
        # ViTDet keeps the class token's embedding of its pretraining, and never reads it.
        converted['pos_embed'] = converted['pos_embed'][:, 1:]
    return converted, unmatched


def _has_class_row(embedding: Tensor) -> bool:
    """Whether ViTDet's (1, N, C) has a class token's row: N is no square, or `from_lfi` wrote row 0."""
    length = embedding.shape[1]
    first_is_empty = bool(embedding[:, 1:].any()) and not embedding[:, 0].any()
    return isqrt(length) ** 2 != length or first_is_empty


def from_lfi(state: Mapping[str, Tensor], form: str) -> tuple[dict[str, Tensor], list[str]]:
    """Convert our state dict to the parameter names of another project, the reverse of `to_lfi`.

    Returns:
        State dict for the other project, and our names without a counterpart: queries, gates and heads.

    Raises:
        ValueError: if the student has a stem, or, for CLIP, no class token.
    """
    if any(name.startswith(STEM) for name in state):
        raise ValueError(f'a student with a stem ({STEM}*) has no counterpart in other projects')
    if form == 'clip' and 'cls_token' not in state:
        raise ValueError("CLIP's ViT has a class token, and this student has none: choose another format")
    rename = _renamer([(own_name, foreign_name) for foreign_name, own_name in FORMATS[form]])
    prefix = PREFIXES[form][0]
    converted, unmatched = {}, []
    for name, value in state.items():
        new_name = rename(name)
        if new_name is None:
            unmatched.append(name)
        else:
            converted[prefix + new_name] = value
    if form == 'clip':
        converted[f'{prefix}class_embedding'] = converted[f'{prefix}class_embedding'].flatten()
        converted[f'{prefix}positional_embedding'] = converted[f'{prefix}positional_embedding'][0]
    if form == 'vitdet':
        patches = converted[f'{prefix}pos_embed']
        if converted.pop(f'{prefix}cls_token', None) is not None:
            unmatched.append('cls_token')
            patches = patches[:, 1:]
        # ViTDet's embedding has a row for the class token, and never reads it.
        converted[f'{prefix}pos_embed'] = torch.cat((torch.zeros_like(patches[:, :1]), patches), 1)
    return converted, unmatched


def _renamer(rules: list[tuple[str, str]]) -> Callable[[str], str | None]:
    patterns = [(re.compile(re.escape(old).replace(r'\{\}', r'(\d+)')), new) for old, new in rules]

    def rename(name: str) -> str | None:
        for pattern, new in patterns:
            if match := pattern.match(name):
                return new.format(*match.groups()) + name[match.end() :]
        return None

    return rename
