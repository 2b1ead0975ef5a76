"""ViT checkpoints of other projects in our names, and back."""

from argparse import Namespace
from pathlib import Path

import torch

from lfi.errors import UsageError
from lfi.models.backbones.vit_checkpoints import from_lfi, recognise, to_lfi
from lfi.vit_names import FORMATS

from .weight_files import read_checkpoint, same_file, write_weights


def main(args: Namespace) -> None:
    """Run the tool."""
    if same_file(Path(args.dst), args.src):
        raise UsageError(f'dst={args.dst} would overwrite {args.src}')
    state = read(args.src)
    if args.to == 'lfi':
        form = recognise(state)
        if form is None:
            raise UsageError(
                f'{args.src} is no ViT of {", ".join(FORMATS)}; its names begin with {sorted(state)[:3]}'
            )
        converted, left = to_lfi(state, form)
    else:
        state = {name.removeprefix('backbone.'): value for name, value in state.items()}
        if 'patch_embed.projection.weight' not in state:
            raise UsageError(f'{args.src} holds no InteractionQueryViT and no mmpretrain ViT')
        try:
            converted, left = from_lfi(state, args.to)
        except ValueError as error:
            raise UsageError(f'{args.src}: {error}') from error
    write_weights(converted, Path(args.dst))
    print(f'{args.dst}: {len(converted)} tensors. Left out: {", ".join(left) or "nothing"}.')


def read(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, of its `state_dict` or `model` if it has one."""
    loaded = read_checkpoint(path)
    for key in ('state_dict', 'model', 'model_ema'):
        loaded = loaded.get(key, loaded)
    return {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
