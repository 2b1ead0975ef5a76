"""ViT checkpoints of other projects in LFI's names, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from lfi.engine.checkpoints.weight_files import read_checkpoint, same_file, write_weights
from lfi.errors import UsageError
from lfi.models.backbones.vit_checkpoints import FORMATS, from_lfi, recognise, to_lfi


def convert_vit_checkpoint(
    source: str | Path, target: str | Path, to: Literal['lfi', 'timm', 'clip', 'vitdet'] = 'lfi'
) -> tuple[str, ...]:
    """Convert a ViT checkpoint of timm, MAE, CLIP or ViTDet to our names, or back.

    Ours are those of `InteractionQueryViT`, and of mmpretrain's `VisionTransformer`.

    `init_cfg=dict(type='Pretrained', checkpoint=TARGET)` of a backbone begins with the converted weights.

    Args:
        source: a .safetensors file, or one of `torch.save`; a path or URL. No code of it is run.
        target: the .safetensors or .pth file to write.
        to: the names that are written. Defaults to 'lfi'.

    Returns:
        The names of the tensors that have no place in the target.

    Raises:
        UsageError: if there is no such checkpoint, it is no ViT of a known format, or the target is the
            source.
    """
    source, target = str(source), Path(target)
    if same_file(target, source):
        raise UsageError(f'target={str(target)!r} would overwrite {source}')
    state = _tensors_of(source)
    if to == 'lfi':
        form = recognise(state)
        if form is None:
            raise UsageError(
                f'{source} is no ViT of {", ".join(FORMATS)}; its names begin with {sorted(state)[:3]}'
            )
        converted, left = to_lfi(state, form)
    elif to in FORMATS:
        state = {name.removeprefix('backbone.'): value for name, value in state.items()}
        if 'patch_embed.projection.weight' not in state:
            raise UsageError(f'{source} holds no InteractionQueryViT and no mmpretrain ViT')
        try:
            converted, left = from_lfi(state, to)
        except ValueError as error:
            raise UsageError(f'{source}: {error}') from error
    else:
        raise UsageError(f'to={to!r} must be one of lfi, {", ".join(FORMATS)}')
    write_weights(converted, target)
    return tuple(left)


def _tensors_of(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, of its `state_dict` or `model` if it has one."""
    loaded = read_checkpoint(path)
    for key in ('state_dict', 'model', 'model_ema'):
        loaded = loaded.get(key, loaded)
    return {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
