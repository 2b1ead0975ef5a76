"""ViT checkpoints of other projects in our names, and back."""

from argparse import Namespace

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import load_file, save_file

from lfi.engine import run_options
from lfi.errors import UsageError
from lfi.models.vit_checkpoints import from_lfi, recognise, to_lfi
from lfi.vit_names import FORMATS


def main(args: Namespace) -> None:
    """Run the tool."""
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
    write(converted, args.dst)
    print(f'{args.dst}: {len(converted)} tensors. Left out: {", ".join(left) or "nothing"}.')


def read(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, of its `state_dict` or `model` if it has one."""
    if path.endswith('.safetensors'):
        return load_file(path)
    if '://' not in path:
        run_options.require_checkpoint(path)
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger=None)
    for key in ('state_dict', 'model', 'model_ema'):
        loaded = loaded.get(key, loaded)
    return {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}


def write(state: dict[str, torch.Tensor], path: str) -> None:
    """Write tensors, as .safetensors if the path ends so."""
    state = {name: value.contiguous() for name, value in state.items()}
    if path.endswith('.safetensors'):
        save_file(state, path)
    else:
        torch.save({'state_dict': state}, path)
