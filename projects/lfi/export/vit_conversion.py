"""Conversion of ViT checkpoints between LFI's names and those of other projects."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from lfi.engine.checkpoints.weight_files import read_checkpoint, same_file, write_weights
from lfi.errors import UsageError
from lfi.models.backbones.vit_checkpoints import FORMATS, detect_format, from_lfi, to_lfi


def convert_vit_checkpoint(
    source: str | Path, target: str | Path, to: Literal['lfi', 'timm', 'clip', 'vitdet'] = 'lfi'
) -> tuple[str, ...]:
    """Convert a ViT checkpoint of timm, MAE, CLIP or ViTDet to LFI's names, or back.

    `InteractionQueryViT` and mmpretrain's `VisionTransformer` use LFI's names. A backbone loads the converted
    weights by `init_cfg=dict(type='Pretrained', checkpoint=TARGET)`.

    Args:
        source: path or URL of a .safetensors file or a file of `torch.save`. No code in it is run.
        target: .safetensors or .pth file to write.
        to: format of the written names. Defaults to 'lfi'.

    Returns:
        Names of the tensors that the target format does not have.

    Raises:
        UsageError: if the checkpoint does not exist or is not a ViT of a known format, or the target is the
            source.
    """
    source, target = str(source), Path(target)
    if same_file(target, source):
        raise UsageError(f'target={str(target)!r} would overwrite {source}')
    state = _read_tensors(source)
    if to == 'lfi':
        source_format = detect_format(state)
        if source_format is None:
            raise UsageError(
                f'{source} is not a ViT of {", ".join(FORMATS)}; its first names are {sorted(state)[:3]}'
            )
        converted, unmatched = to_lfi(state, source_format)
    elif to in FORMATS:
        state = {name.removeprefix('backbone.'): value for name, value in state.items()}
        if 'patch_embed.projection.weight' not in state:
            raise UsageError(f'{source} has no weights of InteractionQueryViT or an mmpretrain ViT')
        try:
            converted, unmatched = from_lfi(state, to)
        except ValueError as error:
            raise UsageError(f'{source}: {error}') from error
    else:
        raise UsageError(f'to={to!r} must be one of lfi, {", ".join(FORMATS)}')
    write_weights(converted, target)
    return tuple(unmatched)


def _read_tensors(path: str) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, from its `state_dict`, `model` or `model_ema` if it has one."""
    content = read_checkpoint(path)
    for key in ('state_dict', 'model', 'model_ema'):
        content = content.get(key, content)
    return {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
