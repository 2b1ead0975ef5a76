"""Export a student as ONNX, or by torch.export, and compare it with PyTorch:
`python tools/model_converters/export_onnx.py CONFIG CHECKPOINT OUT.onnx`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import lfi  # noqa: F401
import torch
from export_student import load_student, read_checkpoint
from lfi.engine import launch
from lfi.models.batches import pixel_format
from lfi.models.export import inference_graph, relative_difference, to_onnx, to_torch_export
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor, nn

TOLERANCE = 1e-4
BATCHES = (1, 3)
NEEDED = ('onnx', 'onnxscript', 'onnxruntime')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Export a student as ONNX, or by torch.export, and compare it with PyTorch. The graph '
        'takes normalised images (B, 3, H, W) of one size, for any B.'
    )
    launch.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='.pth or .safetensors file; a path or URL')
    parser.add_argument('out', nargs='?', type=Path, help='.onnx file to write')
    parser.add_argument('--torch-export', type=Path, metavar='OUT', help='.pt2 file to write by torch.export')
    parser.add_argument(
        '--part',
        choices=['classifier', 'backbone'],
        help='logits, or class token or feature map (default: classifier where the model is one)',
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help="of the images in pixels (default: the backbone's img_size)",
    )
    parser.add_argument('--opset', type=int, help="version of ONNX's operators (default: torch's own choice)")
    args = parser.parse_args()
    if args.out is None and args.torch_export is None:
        parser.error('nothing to write: give OUT.onnx, --torch-export OUT.pt2, or both')
    for path, suffix in ((args.out, '.onnx'), (args.torch_export, '.pt2')):
        if path is not None and path.suffix != suffix:
            parser.error(f'{path} must end in {suffix}')
    return args


def main() -> None:
    args = parse_args()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if args.out is not None and missing:
        raise launch.UsageError(f"ONNX needs {', '.join(missing)}: pip install 'lfi[export]'")
    cfg = launch.load_config(args.config, args.cfg_options)
    student = load_student(cfg, read_checkpoint(args.checkpoint)).build()
    shape = tuple(args.shape or student.backbone.img_size)
    part = args.part or ('classifier' if isinstance(student, ImageClassifier) else 'backbone')
    try:
        graph, names = inference_graph(student, part)
    except ValueError as error:
        raise launch.UsageError(str(error)) from error
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_onnx(graph, names, shape, args.opset, args.out)
        compare(graph, names, shape, onnx_runner(args.out), args.out)
    if args.torch_export is not None:
        args.torch_export.parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(to_torch_export(graph, shape), args.torch_export)
        compare(graph, names, shape, torch.export.load(args.torch_export).module(), args.torch_export)
    pixels = pixel_format(student.data_preprocessor)
    print(
        f'Images: {"RGB" if pixels.rgb else "BGR"}, {shape[0]} x {shape[1]}, values 0 to 255, less '
        f'{rounded(pixels.mean)}, divided by {rounded(pixels.std)}.'
    )


def write_onnx(
    graph: nn.Module, names: Sequence[str], shape: tuple[int, int], opset: int | None, path: Path
) -> None:
    # It tells of each constant that it leaves as it is.
    logging.getLogger('onnxscript').setLevel(logging.WARNING)
    program = to_onnx(graph, names, shape, opset)
    found = program.model.opset_imports['']
    if opset is not None and found != opset:
        raise launch.UsageError(f'--opset {opset}: torch could only write opset {found}')
    program.save(path)
    print(f'Wrote {path} ({path.stat().st_size / 1e6:,.3f} MB), opset {found}.')


def onnx_runner(path: Path) -> Callable[[Tensor], list[Tensor]]:
    """A function that runs a file by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda images: [torch.from_numpy(out) for out in session.run(None, {'images': images.numpy()})]


@torch.no_grad()
def compare(
    graph: nn.Module,
    names: Sequence[str],
    shape: tuple[int, int],
    exported: Callable[[Tensor], Sequence[Tensor]],
    path: Path,
) -> None:
    """Print the difference of an export from its model on random images.

    Raises:
        UsageError: If it exceeds `TOLERANCE` of the largest value; the file is then removed.
    """
    for batch in BATCHES:
        images = torch.randn(batch, 3, *shape, generator=torch.Generator().manual_seed(batch))
        for name, found, expected in zip(names, exported(images), graph(images), strict=True):
            difference = relative_difference(found, expected)
            print(
                f'{path.name}, {name} {tuple(expected.shape)}: largest difference {difference:.1e} of the '
                'largest value'
            )
            if not difference <= TOLERANCE:
                path.unlink()
                raise launch.UsageError(
                    f'{path} was removed: its {name} differs by more than {TOLERANCE} of the largest value'
                )


def rounded(values: Sequence[float]) -> str:
    return '(' + ', '.join(f'{value:g}' for value in values) + ')'


if __name__ == '__main__':
    launch.run(main)
