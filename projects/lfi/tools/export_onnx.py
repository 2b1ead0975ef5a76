"""A student as ONNX, or by torch.export, compared with PyTorch."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from lfi.errors import UsageError
from lfi.folders import make_folder
from lfi.models.batches.samples import pixel_format
from lfi.models.export import FLOAT16, FLOAT32, Tolerance, default_part, together

from .graphs import (
    Exported,
    compared_outputs,
    graph_of,
    half_program_of,
    load_for_graphs,
    onnx_runner,
    program_of,
    require_onnx,
    write_onnx,
)
from .sample_images import sample_images

BATCHES = (1, 3)


def main(args: Namespace) -> None:
    """Run the tool."""
    if args.out is not None:
        require_onnx()
        make_folder(args.out.parent, 'out')
    if args.torch_export is not None:
        make_folder(args.torch_export.parent, '--torch-export')
    student, shape = load_for_graphs(args)
    part = args.part or default_part(student)
    graph, names = graph_of(student, part, args.box_masks)
    batches = BATCHES if args.batch is None else (args.batch,)
    pixels = pixel_format(student.data_preprocessor)
    images = [sample_images(batch, shape, pixels, args.images) for batch in batches]
    if args.out is not None:
        program = (half_program_of if args.fp16 else program_of)(graph, shape, args.batch)
        tolerance = FLOAT16 if args.fp16 else FLOAT32
        with replaced_when_done(args.out) as path:
            write_onnx(program, names, args.opset, path)
            compare(student, graph, names, images, onnx_runner(path), tolerance, args.out)
        print(f'Wrote {args.out} ({args.out.stat().st_size / 1e6:,.3f} MB).')
    if args.torch_export is not None:
        with replaced_when_done(args.torch_export) as path:
            torch.export.save(program_of(graph, shape, args.batch), path)
            module = torch.export.load(path).module()
            compare(student, graph, names, images, module, FLOAT32, args.torch_export)
        print(f'Wrote {args.torch_export}.')
    print(
        f'Images: {"RGB" if pixels.rgb else "BGR"}, {shape[0]} x {shape[1]}, values 0 to 255, less '
        f'{rounded(pixels.mean)}, divided by {rounded(pixels.std)}.'
    )


@contextmanager
def replaced_when_done(path: Path) -> Iterator[Path]:
    """A path to write to, whose files replace those of an older export where all went well."""
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        yield Path(folder, path.name)
        for file in Path(folder).iterdir():
            file.replace(path.parent / file.name)


@torch.no_grad()
def compare(
    student: nn.Module,
    graph: nn.Module,
    names: Sequence[str],
    batches: Sequence[Tensor],
    exported: Exported,
    tolerance: Tolerance,
    path: Path,
) -> None:
    """Print how far an export gives what PyTorch gives.

    Args:
        student: As of `compared_outputs`.
        graph: Likewise.
        names: Likewise.
        batches: Normalised images.
        exported: The export.
        tolerance: As of `compared_outputs`.
        path: Where the export's file will be.

    Raises:
        UsageError: If it gives something else.
    """
    found = together(
        [compared_outputs(student, graph, names, images, exported(images), tolerance) for images in batches]
    )
    for line in found.lines:
        print(f'{path.name}, {line}')
    if not found.holds:
        raise UsageError(
            f'{path} was not written: its outputs differ from those of PyTorch by more than {tolerance}'
        )
    if not found.compared:
        print(f'{path.name} was not compared, since nothing is found in these images: give --images FOLDER')


def rounded(values: Sequence[float]) -> str:
    """Values for a message."""
    return '(' + ', '.join(f'{value:g}' for value in values) + ')'
