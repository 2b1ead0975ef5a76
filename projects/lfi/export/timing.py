"""How long a student takes in each format, and whether all give the same."""

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
from lfi.models.batches.pixel_format import pixel_format

from .agreement import FLOAT16, FLOAT32, predicted
from .inference_graph import default_part
from .onnx_export import (
    compared_outputs,
    graph_of,
    half_program_of,
    onnx_runner,
    program_of,
    require_onnx,
    write_onnx,
)
from .sample_images import sample_images

TITLES = ('format', 'batch', 'ms, median', 'quartiles', 'images a second', 'ratio to PyTorch', 'the same')


@dataclass(frozen=True)
class Timing:
    """One format with one number of images.

    Args:
        format: Its name.
        batch: How many images.
        seconds: How long each run took.
        ratio: The median over the runs of its time over that of PyTorch in the same round.
        agrees: Whether it gives what PyTorch gives.
        agreement: What was compared, in words.
    """

    format: str
    batch: int
    seconds: tuple[float, ...]
    ratio: float
    agrees: bool
    agreement: str

    def row(self) -> Sequence[object]:
        """A row of the table."""
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
def timings_of(
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
    """Time a student in several formats, and compare what they give with PyTorch.

    Args:
        student: as `student_for_graphs` gives it.
        shape: height and width of the images in pixels.
        formats: names of the formats, PyTorch among them.
        part: of the student, as of `inference_graph`; None for what it predicts.
        batch_sizes: numbers of images.
        folder: images to run on; None for drawn ones.
        device: 'cpu' or 'cuda'.
        num_warmup: runs before the clock starts.
        num_repeats: runs that are timed.

    Raises:
        UsageError: if onnxruntime or the device is missing, the part cannot be exported, or the folder has no
            image.
    """
    if any(name.startswith('onnx') for name in formats):
        require_onnx()
    if device == 'cuda' and not torch.cuda.is_available():
        raise UsageError('--device cuda: this torch finds no GPU')
    graph, names = graph_of(student, part or default_part(student))
    pixels = pixel_format(student.data_preprocessor)
    timings: list[Timing] = []
    with TemporaryDirectory() as written:
        files = onnx_files(formats, graph, names, shape, Path(written))
        for module in (student, graph):
            module.to(device)
        runners = {name: runner(name, student, graph, names, files, device) for name in formats}
        for batch in batch_sizes:
            images = sample_images(batch, shape, pixels, folder).to(device)
            agreements = {
                name: compared_outputs(
                    student, graph, names, images, run(images), FLOAT16 if name == 'onnx-fp16' else FLOAT32
                )
                for name, run in runners.items()
                if name != 'pytorch'
            }
            if any(not found.compared for found in agreements.values()):
                print(f'Batch {batch}: nothing is found in these images, in no time: give --images FOLDER')
            seconds = timed(runners, images, num_warmup, num_repeats)
            for name, its in seconds.items():
                found = agreements.get(name)
                timings.append(
                    Timing(
                        name,
                        batch,
                        tuple(its),
                        statistics.median(a / b for a, b in zip(its, seconds['pytorch'])),
                        found is None or found.holds,
                        '; '.join(found.lines) if found else '',
                    )
                )
    return timings


def onnx_files(
    formats: Sequence[str], graph: Any, names: Sequence[str], shape: tuple[int, int], folder: Path
) -> dict[str, Path]:
    """Write the files of those formats that are ONNX."""
    files = {name: folder / f'{name}.onnx' for name in formats if name.startswith('onnx')}
    for name, path in files.items():
        program = (half_program_of if name == 'onnx-fp16' else program_of)(graph, shape)
        write_onnx(program, names, None, path)
    return files


def runner(
    name: str, student: Any, graph: Any, names: Sequence[str], files: Mapping[str, Path], device: str
) -> Callable[[Tensor], Any]:
    """What runs a format, from normalised images to its outputs."""
    if name in files:
        return onnx_runner(files[name], torch.get_num_threads(), device)
    if name == 'compile':
        return torch.compile(graph, dynamic=False)
    # A detector's graph is made for export; PyTorch has its own `predict`.
    return partial(predicted, student) if 'boxes' in names else graph


def timed(
    runners: Mapping[str, Callable[[Tensor], Any]], images: Tensor, warmups: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each run; formats take turns, so that a drift of the machine's speed hits all."""
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
    """Wait for a GPU."""
    if images.is_cuda:
        torch.cuda.synchronize()
