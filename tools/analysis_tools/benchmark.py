"""Time a student in PyTorch, compiled, and as ONNX on this machine, and check that all agree.

python tools/analysis_tools/benchmark.py CONFIG CHECKPOINT --formats pytorch,compile,onnx --batch-sizes 1 8

PyTorch is always among the formats, since the others are compared with it. A detector is timed with all that
comes after its heads, NMS and masks included.
"""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from lfi.arguments import ArgumentParser, add_config_arguments, add_graph_arguments, positive
from lfi.tools import run_tool

FORMATS = ('pytorch', 'compile', 'onnx', 'onnx-fp16')


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth or .safetensors file; a path or URL')
    parser.add_argument(
        '--formats',
        type=formats,
        default='pytorch,compile,onnx',
        help=f'of {",".join(FORMATS)}, with commas (default: %(default)s)',
    )
    add_graph_arguments(parser)
    parser.add_argument(
        '--batch-sizes', nargs='+', type=positive, default=[1], help='numbers of images (default: 1)'
    )
    parser.add_argument('--threads', type=positive, help="of the CPU (default: torch's own choice)")
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='(default: %(default)s)')
    parser.add_argument(
        '--num-warmup', type=positive, default=3, help='runs before the clock starts (default: %(default)s)'
    )
    parser.add_argument(
        '--repeat-num', type=positive, default=20, help='runs that are timed (default: %(default)s)'
    )
    parser.add_argument('--json', type=Path, metavar='OUT', help='write every time to this file')
    return parser.parse_args()


def formats(text: str) -> list[str]:
    """The formats of a list with commas, PyTorch first."""
    found = [name.strip() for name in text.split(',')]
    unknown = [name for name in found if name not in FORMATS]
    if unknown:
        raise ArgumentTypeError(f'unknown: {", ".join(unknown)}; choose from {",".join(FORMATS)}')
    return [name for name in FORMATS if name in {'pytorch', *found}]


if __name__ == '__main__':
    run_tool(parse_args, 'benchmark')
