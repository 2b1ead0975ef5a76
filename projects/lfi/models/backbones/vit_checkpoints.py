"""Other projects' ViT checkpoints in the names of `InteractionQueryViT`, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isqrt

import torch
from torch import Tensor

# (their name, ours); {} is the block's number. What a name begins with is enough.
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
# What stands before the names in published files, the longest first.
PREFIXES = {'timm': ('',), 'clip': ('visual.', ''), 'vitdet': ('backbone.net.', 'backbone.', '')}
# How the names of `lfi.ConvStem` begin.
STEM = 'patch_embed.layers.'


def recognise(state: Mapping[str, Tensor]) -> str | None:
    """The format of a state dict: 'timm' (DeiT's and MAE's too), 'clip', 'vitdet', or None."""
    if any(re.search(r'resblocks\.0\.attn\.in_proj_weight$', name) for name in state):
        return 'clip'
    if any(re.search(r'(^|\.)blocks\.0\.attn\.rel_pos_h$', name) for name in state):
        return 'vitdet'
    if any(re.match(r'blocks\.0\.attn\.qkv\.weight$', name) for name in state):
        return 'timm'
    return None


def to_lfi(state: Mapping[str, Tensor], form: str) -> tuple[dict[str, Tensor], list[str]]:
    """A foreign state dict in our names.

    Args:
        state: of DeiT, MAE or another ViT of timm ('timm'), of OpenAI's or open_clip's CLIP ('clip'), or of
            detectron2's or mmdet's ViTDet ('vitdet').
        form: its format, one of `FORMATS`.

    Returns:
        what `InteractionQueryViT` takes, and the names that it does not have, such as heads.
        CLIP's weights want `pre_norm=True` and `patch_cfg=dict(bias=False)`, OpenAI's QuickGELU too;
        ViTDet's `with_cls_token=False`, `final_norm=False`, `use_rel_pos=True`, and its windows, for ViT-B
        `window_size=14` and `global_attn_layers=(2, 5, 8, 11)`.
    """
    rename = _renamer([(theirs, ours) for theirs, ours in FORMATS[form]])
    prefix = next(
        p for p in PREFIXES[form] if any(rename(n.removeprefix(p)) for n in state if n.startswith(p))
    )
    found, left = {}, []
    for name, value in state.items():
        ours = rename(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if ours is None:
            left.append(name)
        else:
            found[ours] = value
    if form == 'clip':
        found['cls_token'] = found['cls_token'].reshape(1, 1, -1)
        found['pos_embed'] = found['pos_embed'][None]
    if form == 'vitdet' and _has_class_row(found['pos_embed']):
        # It keeps the class token's embedding from its pretraining, and never reads it.
        found['pos_embed'] = found['pos_embed'][:, 1:]
    return found, left


def _has_class_row(embedding: Tensor) -> bool:
    """Whether a ViTDet's (1, N, C) has more than a square grid, or begins with what `from_lfi` puts there."""
    length = embedding.shape[1]
    first_is_empty = bool(embedding[:, 1:].any()) and not embedding[:, 0].any()
    return isqrt(length) ** 2 != length or first_is_empty


def from_lfi(state: Mapping[str, Tensor], form: str) -> tuple[dict[str, Tensor], list[str]]:
    """The reverse of `to_lfi`: our state dict in the names of another project.

    Returns:
        what the other project takes, and the names that it does not have: the queries, gates and heads.

    Raises:
        ValueError: if it has no such model: of a student with a stem, or for CLIP one without a class token.
    """
    if any(name.startswith(STEM) for name in state):
        raise ValueError(f'a student with a stem ({STEM}*) is no ViT of another project')
    if form == 'clip' and 'cls_token' not in state:
        raise ValueError("CLIP's ViT has a class token, and this student has none: choose another format")
    rename = _renamer([(ours, theirs) for theirs, ours in FORMATS[form]])
    prefix = PREFIXES[form][0]
    found, left = {}, []
    for name, value in state.items():
        theirs = rename(name)
        if theirs is None:
            left.append(name)
        else:
            found[prefix + theirs] = value
    if form == 'clip':
        found[f'{prefix}class_embedding'] = found[f'{prefix}class_embedding'].flatten()
        found[f'{prefix}positional_embedding'] = found[f'{prefix}positional_embedding'][0]
    if form == 'vitdet':
        patches = found[f'{prefix}pos_embed']
        if found.pop(f'{prefix}cls_token', None) is not None:
            left.append('cls_token')
            patches = patches[:, 1:]
        # It has a place for the class token, which it never reads.
        found[f'{prefix}pos_embed'] = torch.cat((torch.zeros_like(patches[:, :1]), patches), 1)
    return found, left


def _renamer(rules: list[tuple[str, str]]) -> Callable[[str], str | None]:
    patterns = [(re.compile(re.escape(old).replace(r'\{\}', r'(\d+)')), new) for old, new in rules]

    def rename(name: str) -> str | None:
        for pattern, new in patterns:
            if match := pattern.match(name):
                return new.format(*match.groups()) + name[match.end() :]
        return None

    return rename
