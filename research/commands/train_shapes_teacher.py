"""Train the built-in teacher, a tiny open_clip model of the Shapes data.

This command made the model that ships with the package:

    python -m research train-shapes-teacher --out projects/lfi/models/teachers/built_in/shapes-tiny

The loss has three terms: open_clip's contrastive loss over captions, cross-entropy of the image over the
prompts of the 20 classes, and cross-entropy of each location over these and the background. Targets are
shared by the classes of the image, or by the instance masks that cover the location. Without the last term a
trunk with 9 of 10 photos classified correctly points below chance, at the surroundings of the object.

`--tower vit` trains a small ViT on captions and class prompts alone, like CLIP, to compare the extractors
that read ViTs:

    python -m research train-shapes-teacher --tower vit --out work_dirs/shapes-vit
    lfi eval-teacher configs/classification/lfi_vit-128x6-p8_shapes.py --extractors all \\
        --cfg-options model.teacher.model=work_dirs/shapes-vit
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.cli.arguments import ArgumentParser, positive
from lfi.cli.running import run_tool

TOWERS: dict[str, dict] = dict(
    cnn=dict(
        timm_model_name='lfi_shapes_trunk',
        timm_model_pretrained=False,
        timm_pool='avg',
        timm_proj='linear',
        image_size=64,
    ),
    vit=dict(image_size=64, layers=6, width=128, head_width=32, patch_size=8, mlp_ratio=2.0),
)


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for the config and the weights')
    parser.add_argument('--tower', choices=TOWERS, default='cnn', help='image tower (%(default)s)')
    parser.add_argument('--images', type=int, default=20000, help='number of training images')
    parser.add_argument('--epochs', type=int, default=7)
    parser.add_argument('--batch-size', type=positive, default=128)
    parser.add_argument('--lr', type=float, default=3e-3, help='highest learning rate')
    parser.add_argument('--seed', type=int, default=0, help='seed of the images and the weights')
    parser.add_argument('--workers', type=int, default=1, help='processes that draw images')
    parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch')
    parser.add_argument('--eval-images', type=int, default=500, help='val images per domain')
    args = parser.parse_args()
    if args.images < args.batch_size:
        parser.error(f'--images {args.images} does not fill one batch of {args.batch_size}')
    return args


def main(args: Namespace) -> None:
    from research import shapes_teacher

    shapes_teacher.main(args, TOWERS[args.tower])


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())
