"""A student as ONNX, or by torch.export, compared with PyTorch."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor, nn

from lfi.engine import launch
from lfi.errors import UsageError
from lfi.models.batches import pixel_format
from lfi.models.export import inference_graph, relative_difference, to_onnx, to_torch_export
from lfi.tools.export_student import load_student, read_checkpoint

TOLERANCE = 1e-4
BATCHES = (1, 3)
NEEDED = ('onnx', 'onnxscript', 'onnxruntime')


def main(args: Namespace) -> None:
    """Run the tool."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if args.out is not None and missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install 'lfi[export]'")
    cfg = launch.load_config(args.config, args.cfg_options)
    student: Any = load_student(cfg, read_checkpoint(args.checkpoint)).build()
    shape = tuple(args.shape or student.backbone.img_size)
    part = args.part or ('classifier' if isinstance(student, ImageClassifier) else 'backbone')
    try:
        graph, names = inference_graph(student, part)
    except ValueError as error:
        raise UsageError(str(error)) from error
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
    """Write a graph; `shape` is its images' height and width in pixels.

    Raises:
        UsageError: If torch cannot write the version of ONNX's operators that is asked for.
    """
    # It tells of each constant that it leaves as it is.
    logging.getLogger('onnxscript').setLevel(logging.WARNING)
    program = to_onnx(graph, names, shape, opset)
    found = program.model.opset_imports['']
    if opset is not None and found != opset:
        raise UsageError(f'--opset {opset}: torch could only write opset {found}')
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
                raise UsageError(
                    f'{path} was removed: its {name} differs by more than {TOLERANCE} of the largest value'
                )


def rounded(values: Sequence[float]) -> str:
    """Values for a message."""
    return '(' + ', '.join(f'{value:g}' for value in values) + ')'
