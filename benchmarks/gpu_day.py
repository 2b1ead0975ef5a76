"""Run the tests, benchmarks and a training on a machine with one CUDA GPU, and write one report.

    benchmarks/gpu_day.sh work_dirs/gpu            # 40 minutes at most
    benchmarks/gpu_day.sh work_dirs/gpu --small    # the smallest sizes, on the CPU, in two minutes

Nothing needs the network. OUT/report.md is rewritten after each part, and OUT has the output of each part.
A part that fails or exceeds its time limit does not stop the next. The training needs Tiny-ImageNet below
LFI_DATA_ROOT and the teacher below LFI_TEACHER_ROOT, and is skipped without them.
The exit status is 0 if no part failed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lfi.config_files import ROOTS
from lfi.utils import markdown

ROOT = Path(__file__).resolve().parents[1]
# Largest numbers of quoted lines: of a part's output, and of the errors of a failed part.
MAX_LINES, MAX_ERROR_LINES = 120, 40
DATA, TEACHER = 'tiny-imagenet-200', 'lit-effnet-lite0'


@dataclass(frozen=True)
class Part:
    """Command of the report.

    Args:
        name: name in the report.
        minutes: time limit.
        command: arguments of Python.
        needs: folders below the roots of data and teachers, by the root's variable. Defaults to none.
        prints_tables: whether the output is Markdown. Defaults to True.
    """

    name: str
    minutes: float
    command: tuple[str, ...]
    needs: Mapping[str, str] | None = None
    prints_tables: bool = True

    def missing(self) -> str | None:
        """Return the first required folder that is missing, or None."""
        for variable, folder in (self.needs or {}).items():
            root = Path(os.environ.get(variable, ROOTS[variable]))
            if not (ROOT / root / folder).is_dir():
                return f'{folder} is not in {variable}={root}'
        return None


@dataclass(frozen=True)
class Outcome:
    """Result of a part.

    Args:
        part: part that ran.
        result: 'passed', 'failed', 'out of time' or 'left out'.
        seconds: duration.
        text: Markdown for the report.
    """

    part: Part
    result: str
    seconds: float
    text: str

    @property
    def is_good(self) -> bool:
        return self.result in ('passed', 'left out')

    def row(self) -> list[str]:
        """Return the row of the report's first table."""
        return [self.part.name, self.result, f'{self.seconds:.0f}', f'{60 * self.part.minutes:.0f}']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='gpu_day.sh', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', metavar='OUT', type=Path, help='folder of the report')
    parser.add_argument('--small', action='store_true', help='the smallest sizes, on the CPU')
    return parser.parse_args()


def benchmark(name: str, minutes: float, script: str, *arguments: object) -> Part:
    """Build a part that runs a benchmark of this folder."""
    return Part(name, minutes, (f'benchmarks/{script}.py', *map(str, arguments)))


def training(minutes: float, out: Path, *arguments: object) -> Part:
    """Build the part that trains on photos."""
    command = ('benchmarks/photos.py', '--out', str(out / 'photos'), *map(str, arguments))
    return Part('training on photos', minutes, command, dict(zip(ROOTS, (DATA, TEACHER))))


def tests(minutes: float, *arguments: str) -> Part:
    """Build the part that runs tests."""
    command = ('-m', 'pytest', '--tb=short', '--show-capture=no', *arguments)
    return Part('tests', minutes, command, prints_tables=False)


MACHINE = Part('machine', 1, ('-m', 'lfi', 'doctor'), prints_tables=False)
STUDY_ARGS = ('--arch', 'vit-128x6', '--img-size', 64, '--patch-size', 8)
COCO_ARGS = ('--size', 800, 1333, '--batch-size', 2, '--amp')


def gpu_parts(out: Path) -> list[Part]:
    """List the parts of a GPU day by importance, 40 minutes in total."""
    return [
        MACHINE,
        tests(9, '-m', 'cuda', '-rs', 'tests'),
        benchmark('step of ViT-B/16', 4, 'step', '--batch-size', 64, '--amp'),
        benchmark('step of the studies', 2, 'step', *STUDY_ARGS, '--batch-size', 64, '--num-classes', 20),
        benchmark(
            'step of Mask R-CNN',
            4,
            'detector',
            '--config',
            'configs/detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py',
            *COCO_ARGS,
        ),
        benchmark('caching', 2, 'cache', '--batch-size', 64),
        benchmark('extractors', 4, 'extractors', '--batch-size', 32),
        benchmark('forward pass', 2, 'backbone', '--batch-size', 64, '--amp'),
        training(12, out),
    ]


def small_parts(out: Path) -> list[Part]:
    """List the parts at their smallest sizes on the CPU, with time limits for a busy machine."""
    teacher, few = ('--teacher', 'shapes-tiny', '--extractor', 'dense'), ('--batch-size', 2, '--rounds', 2)
    return [
        MACHINE,
        tests(5, 'tests/test_models/test_devices.py', '-m', 'not cuda', '-k', 'not tools'),
        benchmark('step of the studies', 5, 'step', *STUDY_ARGS, *teacher, *few, '--num-classes', 4),
        benchmark(
            'step of Mask R-CNN',
            5,
            'detector',
            '--config',
            'configs/detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py',
            *('--size', 64, 64),
            *few,
        ),
        benchmark('caching', 5, 'cache', *teacher, *few, '--img-size', 64, '--num-concepts', 4),
        benchmark('extractors', 5, 'extractors', *few, '--models', 'RN50'),
        benchmark('forward pass', 5, 'backbone', *few, '--arch', 'deit-tiny', '--img-size', 32),
        training(10, out, '--small'),
    ]


def run(part: Part, out: Path, env: Mapping[str, str]) -> Outcome:
    """Run a part, and kill its process group at the time limit."""
    missing = part.missing()
    if missing is not None:
        return Outcome(part, 'left out', 0, f'Left out: {missing}.')
    printed, errors = (
        out / f'{part.name.replace(" ", "-").replace("/", "-")}.{kind}' for kind in ('out', 'err')
    )
    start = time.monotonic()
    with printed.open('w') as stdout, errors.open('w') as stderr:
        process = subprocess.Popen(
            [sys.executable, *part.command],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            result = 'failed' if process.wait(60 * part.minutes) else 'passed'
        except subprocess.TimeoutExpired:
            result = 'out of time'
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Outcome(part, result, time.monotonic() - start, excerpt(part, result, printed, errors))


def excerpt(part: Part, result: str, printed: Path, errors: Path) -> str:
    """Return the excerpt of a part's output for the report."""
    lines = printed.read_text(errors='replace').splitlines()
    if part.prints_tables:
        # The caption names the machine. Output of libraries comes before it.
        caption = next((i for i, line in enumerate(lines) if ', torch ' in line), 0)
        text = '\n'.join(lines[caption:])
    else:
        text = block(lines[-MAX_LINES:])
    if result == 'passed':
        return text
    last = errors.read_text(errors='replace').splitlines()[-MAX_ERROR_LINES:]
    return f'{text}\n\nThe end of {errors.name}:\n\n{block(last)}'


def block(lines: Sequence[str]) -> str:
    """Format lines as a code block."""
    return '\n'.join(['```', *lines, '```'])


def report(outcomes: Sequence[Outcome], small: bool) -> str:
    """Return the Markdown report of the finished parts."""
    return '\n\n'.join(_sections(outcomes, small)) + '\n'


def _sections(outcomes: Sequence[Outcome], small: bool) -> Iterator[str]:
    yield '# Smallest sizes, on the CPU' if small else '# A day with a GPU'
    yield f'{time.strftime("%Y-%m-%d")}. Each part is below, with its command.'
    yield markdown.table(['part', 'result', 'seconds', 'at most'], [outcome.row() for outcome in outcomes])
    for outcome in outcomes:
        name = outcome.part.name
        yield f'## {name[0].upper()}{name[1:]}'
        yield f'`python {shlex.join(outcome.part.command)}`: {outcome.result}.'
        yield outcome.text


def main() -> None:
    args = parse_args()
    out = args.out.resolve()
    env = dict(os.environ)
    if args.small:
        # Small models gain nothing from threads.
        env.update(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
    else:
        import torch

        if not torch.cuda.is_available():
            sys.exit('error: this torch finds no CUDA GPU; --small runs the smallest sizes on the CPU')
    out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for part in small_parts(out) if args.small else gpu_parts(out):
        outcomes.append(run(part, out, env))
        print(f'{part.name}: {outcomes[-1].result}, {outcomes[-1].seconds:.0f} s', flush=True)
        (out / 'report.md').write_text(report(outcomes, args.small))
    print(f'Report: {out / "report.md"}')
    sys.exit(0 if all(outcome.is_good for outcome in outcomes) else 1)


if __name__ == '__main__':
    main()
