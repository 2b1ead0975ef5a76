"""Write the weights that a student needs at inference, and its slim config.

python tools/model_converters/export_student.py CONFIG CHECKPOINT OUT
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.arguments import ArgumentParser, add_config_arguments
from lfi.tools import run_tool

SUFFIXES = ('.pth', '.safetensors')


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth or .safetensors file of the training; a path or URL')
    parser.add_argument(
        'out', type=Path, help='.pth or .safetensors file to write; the config gets its name and .py'
    )
    parser.add_argument(
        '--format',
        choices=['mmpretrain', 'timm'],
        default='mmpretrain',
        help="names of the weights: OpenMMLab's, or timm's, then with config.json in the folder of OUT for "
        "timm.create_model('local-dir:FOLDER', pretrained=True) (default: mmpretrain)",
    )
    args = parser.parse_args()
    if args.out.suffix not in SUFFIXES:
        parser.error(f'out takes a {" or ".join(SUFFIXES)} file, got {args.out}')
    return args


if __name__ == '__main__':
    run_tool(parse_args, 'export_student')
