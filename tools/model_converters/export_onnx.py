"""Export a student as ONNX, or by torch.export, and compare it with PyTorch.

python tools/model_converters/export_onnx.py CONFIG CHECKPOINT OUT.onnx

The graph takes normalised images (B, 3, H, W) of one size, for any B. It gives what the student predicts: a
classifier's logits; a detector's boxes, scores, labels and masks, after NMS; a segmentor's logits and labels.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from lfi.arguments import ArgumentParser, add_config_arguments, add_graph_arguments, positive
from lfi.tools import run_tool

OLDEST_OPSET = 18


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth or .safetensors file; a path or URL')
    parser.add_argument('out', nargs='?', type=Path, help='.onnx file to write')
    parser.add_argument('--torch-export', type=Path, metavar='OUT', help='.pt2 file to write by torch.export')
    add_graph_arguments(parser)
    parser.add_argument('--batch', type=positive, help='a fixed number of images (default: any)')
    parser.add_argument(
        '--fp16', action='store_true', help='compute in float16, with float32 input, outputs and boxes'
    )
    parser.add_argument(
        '--box-masks',
        action='store_true',
        help="a detector's masks are those of its boxes, probabilities, and not those of the image",
    )
    parser.add_argument('--opset', type=int, help="version of ONNX's operators (default: torch's own choice)")
    args = parser.parse_args()
    if args.out is None and args.torch_export is None:
        parser.error('nothing to write: give OUT.onnx, --torch-export OUT.pt2, or both')
    for path, suffix in ((args.out, '.onnx'), (args.torch_export, '.pt2')):
        if path is not None and path.suffix != suffix:
            parser.error(f'{path} must end in {suffix}')
    if args.opset is not None and args.opset < OLDEST_OPSET:
        parser.error(f'--opset {args.opset}: {OLDEST_OPSET} and later can be written')
    if args.fp16 and args.out is None:
        parser.error('--fp16 is for OUT.onnx')
    return args


if __name__ == '__main__':
    run_tool(parse_args, 'export_onnx')
