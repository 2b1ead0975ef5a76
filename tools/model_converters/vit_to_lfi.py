"""Convert a ViT checkpoint of timm, DeiT, MAE, CLIP or ViTDet to our names, or back:
`python tools/model_converters/vit_to_lfi.py SRC DST`."""

import argparse

import lfi  # noqa: F401
import torch
from lfi.engine import launch
from lfi.models.vit_checkpoints import FORMATS, from_lfi, recognise, to_lfi
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import load_file, save_file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Convert a ViT checkpoint of timm, DeiT, MAE, CLIP or ViTDet to our names, or back'
    )
    parser.add_argument('src', help='checkpoint: a .safetensors file, or one of torch.save; a path or URL')
    parser.add_argument(
        'dst', help='file to write, .safetensors or .pth; use it as init_cfg=dict(type="Pretrained", ...)'
    )
    parser.add_argument(
        '--to', choices=['lfi', *FORMATS], default='lfi', help='names of the file to write (default: lfi)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    state = read(args.src)
    if args.to == 'lfi':
        form = recognise(state)
        if form is None:
            raise launch.UsageError(
                f'{args.src} is no ViT of {", ".join(FORMATS)}; its names begin with {sorted(state)[:3]}'
            )
        converted, left = to_lfi(state, form)
    else:
        state = {name.removeprefix('backbone.'): value for name, value in state.items()}
        if 'patch_embed.projection.weight' not in state:
            raise launch.UsageError(f'{args.src} holds no InteractionQueryViT and no mmpretrain ViT')
        converted, left = from_lfi(state, args.to)
    write(converted, args.dst)
    print(f'{args.dst}: {len(converted)} tensors. Left out: {", ".join(left) or "nothing"}.')


def read(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, of its `state_dict` or `model` if it has one."""
    if path.endswith('.safetensors'):
        return load_file(path)
    if '://' not in path:
        launch.require_checkpoint(path)
    loaded = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger=None)
    for key in ('state_dict', 'model', 'model_ema'):
        loaded = loaded.get(key, loaded)
    return {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}


def write(state: dict[str, torch.Tensor], path: str) -> None:
    state = {name: value.contiguous() for name, value in state.items()}
    if path.endswith('.safetensors'):
        save_file(state, path)
    else:
        torch.save({'state_dict': state}, path)


if __name__ == '__main__':
    launch.run(main)
