"""Strip a checkpoint of its training state and name it by its content.

python tools/model_converters/publish_model.py IN OUT
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.arguments import ArgumentParser
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='.pth or .safetensors file; a path or URL')
    parser.add_argument(
        'out',
        type=Path,
        help='.pth or .safetensors file: x.pth is written as x-<first 8 digits of its sha256>.pth. '
        'safetensors holds the weights alone, .pth the meta data of the training too',
    )
    parser.add_argument(
        '--no-ema',
        action='store_true',
        help="publish the trained weights, not EMAHook's averages",
    )
    args = parser.parse_args()
    if args.out.suffix not in ('.pth', '.safetensors'):
        parser.error(f'out takes a .pth or .safetensors file, got {args.out}')
    return args


if __name__ == '__main__':
    run_tool(parse_args, 'publish_model')
