"""Build a TensorRT engine from an ONNX file, or say what TensorRT could not read in it.

python tools/model_converters/onnx_to_tensorrt.py student.onnx student.engine

Run it on the machine that is to run the engine. The precision is that of the file.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.arguments import ArgumentParser, positive
from lfi.tools import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('onnx', type=Path, help='.onnx file')
    parser.add_argument(
        'out', nargs='?', type=Path, help='engine to write (default: the operators are checked, no more)'
    )
    parser.add_argument(
        '--batch',
        nargs=3,
        type=positive,
        default=(1, 1, 1),
        metavar=('LEAST', 'BEST', 'MOST'),
        help='numbers of images, of a file that takes any (default: 1 1 1)',
    )
    parser.add_argument(
        '--workspace', type=float, default=4.0, metavar='GIB', help='memory that may be tried (default: 4)'
    )
    args = parser.parse_args()
    if list(args.batch) != sorted(args.batch):
        parser.error(f'--batch: LEAST BEST MOST must rise, got {" ".join(map(str, args.batch))}')
    return args


if __name__ == '__main__':
    run_tool(parse_args, 'onnx_to_tensorrt')
