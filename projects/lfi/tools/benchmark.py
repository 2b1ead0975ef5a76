"""How long a student takes in each format, and whether all give the same."""

from __future__ import annotations

import json
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from lfi.engine.machine import machine
from lfi.errors import UsageError
from lfi.folders import make_folder
from lfi.markdown import table
from lfi.models.batches.samples import pixel_format
from lfi.models.export import FLOAT16, FLOAT32, default_part, predicted
from lfi.tools.graphs import (
    compared_outputs,
    graph_of,
    half_program_of,
    load_for_graphs,
    onnx_runner,
    program_of,
    require_onnx,
    write_onnx,
)
from lfi.tools.sample_images import sample_images

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
def main(args: Namespace) -> None:
    """Run the tool."""
    if any(name.startswith('onnx') for name in args.formats):
        require_onnx()
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UsageError('--device cuda: this torch finds no GPU')
    if args.json is not None:
        make_folder(args.json.parent, '--json')
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    student, shape = load_for_graphs(args)
    graph, names = graph_of(student, args.part or default_part(student))
    pixels = pixel_format(student.data_preprocessor)
    timings: list[Timing] = []
    with TemporaryDirectory() as folder:
        files = onnx_files(args.formats, graph, names, shape, Path(folder))
        for part in (student, graph):
            part.to(args.device)
        runners = {name: runner(name, student, graph, names, files, args.device) for name in args.formats}
        for batch in args.batch_sizes:
            images = sample_images(batch, shape, pixels, args.images).to(args.device)
            agreements = {
                name: compared_outputs(
                    student, graph, names, images, run(images), FLOAT16 if name == 'onnx-fp16' else FLOAT32
                )
                for name, run in runners.items()
                if name != 'pytorch'
            }
            if any(not found.compared for found in agreements.values()):
                print(f'Batch {batch}: nothing is found in these images, in no time: give --images FOLDER')
            seconds = timed(runners, images, args.num_warmup, args.repeat_num)
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
    report(args, shape, timings)


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


def report(args: Namespace, shape: tuple[int, int], timings: Sequence[Timing]) -> None:
    """Print the table, and write the times where that is asked for.

    Raises:
        UsageError: If a format gives something else than PyTorch.
    """
    print(f'{Path(args.config).stem}, {shape[0]} x {shape[1]} pixels, {machine()}.\n')
    print(table(TITLES, [timing.row() for timing in timings]))
    if args.json is not None:
        content = dict(
            config=args.config,
            checkpoint=args.checkpoint,
            shape=shape,
            machine=machine(),
            timings=[asdict(timing) for timing in timings],
        )
        args.json.write_text(json.dumps(content, indent=2) + '\n')
    other = [f'{each.format}, batch {each.batch}: {each.agreement}' for each in timings if not each.agrees]
    if other:
        raise UsageError(f'not the same as in PyTorch: {"; ".join(other)}')
