"""Timing of a student in several formats, with a comparison of their outputs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from lfi.errors import UsageError
from lfi.models.batches.pixel_format import pixel_format_of

from .agreement import FLOAT16, FLOAT32, predict_detections
from .inference_graph import default_part
from .onnx_export import (
    build_graph,
    compare_outputs,
    export_half_program,
    export_program,
    onnx_runner,
    require_onnx,
    write_onnx,
)
from .sample_images import sample_images

TITLES = ('format', 'batch', 'ms, median', 'quartiles', 'images a second', 'ratio to PyTorch', 'the same')


@dataclass(frozen=True)
class Timing:
    """Timing of one format at one batch size.

    Args:
        format: name of the format.
        batch: number of images.
        seconds: duration of each run.
        ratio: duration divided by PyTorch's duration in the same round; median over the rounds.
        agrees: whether the outputs agree with PyTorch's.
        agreement: messages about the compared outputs.
    """

    format: str
    batch: int
    seconds: tuple[float, ...]
    ratio: float
    agrees: bool
    agreement: str

    def row(self) -> Sequence[object]:
        """Format the row of the table."""
        median = statistics.median(self.seconds)
        low, _, high = statistics.quantiles(self.seconds, n=4) if len(self.seconds) > 1 else [median] * 3
        return (
            self.format,
            self.batch,
            f'{1e3 * median:.1f}',
            f'{1e3 * low:.1f} to {1e3 * high:.1f}',
            f'{self.batch / median:.1f}',
            f'{self.ratio:.2f}',
            'yes' if self.agrees else 'NO',
        )


@torch.no_grad()
def time_formats(
    student: Any,
    shape: tuple[int, int],
    formats: Sequence[str],
    *,
    part: str | None,
    batch_sizes: Sequence[int],
    folder: Path | None,
    device: str,
    num_warmup: int,
    num_repeats: int,
) -> list[Timing]:
    """Time a student in several formats, and compare their outputs with PyTorch's.

    Args:
        student: student from `student_for_graphs`.
        shape: height and width of the images, in pixels.
        formats: names of the formats, including 'pytorch'.
        part: part of the student in the graph, one of `PARTS`; None for `default_part`.
        batch_sizes: numbers of images in a batch.
        folder: folder of images to run on; None for test images of Shapes.
        device: 'cpu' or 'cuda'.
        num_warmup: number of untimed runs.
        num_repeats: number of timed runs.

    Raises:
        UsageError: if onnxruntime or the device is missing, the part cannot be exported, or the folder has no
            image.
    """
    if any(name.startswith('onnx') for name in formats):
        require_onnx()
    if device == 'cuda' and not torch.cuda.is_available():
        raise UsageError('--device cuda: this torch finds no GPU')
    graph, names = build_graph(student, part or default_part(student))
    pixel_format = pixel_format_of(student.data_preprocessor)
    timings: list[Timing] = []
    with TemporaryDirectory() as onnx_folder:
        files = write_onnx_files(formats, graph, names, shape, Path(onnx_folder))
        for module in (student, graph):
            module.to(device)
        runners = {name: build_runner(name, student, graph, names, files, device) for name in formats}
        for batch in batch_sizes:
            images = sample_images(batch, shape, pixel_format, folder).to(device)
            agreements = {
                name: compare_outputs(
                    student, graph, names, images, run(images), FLOAT16 if name == 'onnx-fp16' else FLOAT32
                )
                for name, run in runners.items()
                if name != 'pytorch'
            }
            if any(not agreement.compared for agreement in agreements.values()):
                print(f'Batch {batch}: there are no detections in these images: set --images FOLDER')
            seconds = time_runners(runners, images, num_warmup, num_repeats)
            for name, durations in seconds.items():
                agreement = agreements.get(name)
                timings.append(
                    Timing(
                        name,
                        batch,
                        tuple(durations),
                        statistics.median(a / b for a, b in zip(durations, seconds['pytorch'])),
                        agreement is None or agreement.holds,
                        '; '.join(agreement.lines) if agreement else '',
                    )
                )
    return timings


def write_onnx_files(
    formats: Sequence[str], graph: Any, names: Sequence[str], shape: tuple[int, int], folder: Path
) -> dict[str, Path]:
    """Write the files of the ONNX formats, and return their paths by format."""
    files = {name: folder / f'{name}.onnx' for name in formats if name.startswith('onnx')}
    for name, path in files.items():
        program = (export_half_program if name == 'onnx-fp16' else export_program)(graph, shape)
        write_onnx(program, names, None, path)
    return files


def build_runner(
    name: str, student: Any, graph: Any, names: Sequence[str], files: Mapping[str, Path], device: str
) -> Callable[[Tensor], Any]:
    """Build the function that runs a format on normalised images."""
    if name in files:
        return onnx_runner(files[name], torch.get_num_threads(), device)
    if name == 'compile':
        return torch.compile(graph, dynamic=False)
    # The PyTorch baseline of a detector is its own `predict`; the graph is only for export.
    return partial(predict_detections, student) if 'boxes' in names else graph


def time_runners(
    runners: Mapping[str, Callable[[Tensor], Any]], images: Tensor, warmups: int, repeats: int
) -> dict[str, list[float]]:
    """Time each run in seconds; formats alternate, so that drifts of the machine's speed affect all."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        for _ in range(warmups):
            run(images)
    for _ in range(repeats):
        for name, run in runners.items():
            synchronize(images)
            start = time.perf_counter()
            run(images)
            synchronize(images)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def synchronize(images: Tensor) -> None:
    """Wait for the GPU of the images, if they are on one."""
    if images.is_cuda:
        torch.cuda.synchronize()
