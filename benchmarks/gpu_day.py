"""Run the tests, benchmarks and a training on a machine with one CUDA GPU, and write one report.

    benchmarks/gpu_day.sh work_dirs/gpu            # 40 minutes at most
    benchmarks/gpu_day.sh work_dirs/gpu --small    # all of it small, on the CPU, in two minutes

Nothing needs the network. OUT/report.md is written anew after each part, and OUT has what each part printed.
A part that fails, or takes longer than it may, does not stop the next. The training needs Tiny-ImageNet below
LFI_DATA_ROOT and the teacher below LFI_TEACHER_ROOT, and is left out without them.
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
# Lines that are quoted of what a part printed, and of the errors of one that failed.
MOST_LINES, LAST_LINES = 120, 40
DATA, TEACHER = 'tiny-imagenet-200', 'lit-effnet-lite0'


@dataclass(frozen=True)
class Part:
    """One command.

    Args:
        name: in the report.
        minutes: that it may take.
        command: arguments of Python.
        needs: folders below the roots of data and teachers, by the roots' variables. Defaults to none.
        prints_tables: whether what it prints is Markdown. Defaults to True.
    """

    name: str
    minutes: float
    command: tuple[str, ...]
    needs: Mapping[str, str] | None = None
    prints_tables: bool = True

    def missing(self) -> str | None:
        """The first folder that the part needs and that is missing, or None."""
        for variable, folder in (self.needs or {}).items():
            root = Path(os.environ.get(variable, ROOTS[variable]))
            if not (ROOT / root / folder).is_dir():
                return f'{folder} is not in {variable}={root}'
        return None


@dataclass(frozen=True)
class Outcome:
    """How a part ended.

    Args:
        part: that ran.
        result: 'passed', 'failed', 'out of time' or 'left out'.
        seconds: that it took.
        text: for the report, Markdown.
    """

    part: Part
    result: str
    seconds: float
    text: str

    @property
    def is_good(self) -> bool:
        return self.result in ('passed', 'left out')

    def row(self) -> list[str]:
        """The row of the report's first table."""
        return [self.part.name, self.result, f'{self.seconds:.0f}', f'{60 * self.part.minutes:.0f}']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='gpu_day.sh', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', metavar='OUT', type=Path, help='folder of the report')
    parser.add_argument('--small', action='store_true', help='the smallest sizes, on the CPU')
    return parser.parse_args()


def benchmark(name: str, minutes: float, script: str, *arguments: object) -> Part:
    """A part that runs a benchmark of this folder."""
    return Part(name, minutes, (f'benchmarks/{script}.py', *map(str, arguments)))


def training(minutes: float, out: Path, *arguments: object) -> Part:
    """The part that trains on photos."""
    command = ('benchmarks/photos.py', '--out', str(out / 'photos'), *map(str, arguments))
    return Part('training on photos', minutes, command, dict(zip(ROOTS, (DATA, TEACHER))))


def tests(minutes: float, *arguments: str) -> Part:
    """The part that runs tests."""
    command = ('-m', 'pytest', '--tb=short', '--show-capture=no', *arguments)
    return Part('tests', minutes, command, prints_tables=False)


MACHINE = Part('machine', 1, ('-m', 'lfi', 'doctor'), prints_tables=False)
STUDIED = ('--arch', 'vit-128x6', '--img-size', 64, '--patch-size', 8)
COCO = ('--size', 800, 1333, '--batch-size', 2, '--amp')


def parts_of(out: Path) -> list[Part]:
    """The parts of a GPU day in the order of worth, 40 minutes together."""
    return [
        MACHINE,
        tests(9, '-m', 'cuda', '-rs', 'tests'),
        benchmark('step of ViT-B/16', 4, 'step', '--batch-size', 64, '--amp'),
        benchmark('step of the studies', 2, 'step', *STUDIED, '--batch-size', 64, '--num-classes', 20),
        benchmark(
            'step of Mask R-CNN',
            4,
            'detector',
            '--config',
            'configs/detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py',
            *COCO,
        ),
        benchmark('caching', 2, 'cache', '--batch-size', 64),
        benchmark('extractors', 4, 'extractors', '--batch-size', 32),
        benchmark('forward pass', 2, 'backbone', '--batch-size', 64, '--amp'),
        training(12, out),
    ]


def small_parts_of(out: Path) -> list[Part]:
    """The same parts on the CPU, as small as they can be, with time for a busy machine."""
    teacher, few = ('--teacher', 'shapes-tiny', '--extractor', 'dense'), ('--batch-size', 2, '--rounds', 2)
    return [
        MACHINE,
        tests(5, 'tests/test_models/test_devices.py', '-m', 'not cuda', '-k', 'not tools'),
        benchmark('step of the studies', 5, 'step', *STUDIED, *teacher, *few, '--num-classes', 4),
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
    """Run a part, and stop all that it has started when its time is over."""
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
    return Outcome(part, result, time.monotonic() - start, quoted(part, result, printed, errors))


def quoted(part: Part, result: str, printed: Path, errors: Path) -> str:
    """The excerpt of a part's output that the report quotes."""
    lines = printed.read_text(errors='replace').splitlines()
    if part.prints_tables:
        # The caption names the machine; what libraries say stands before it.
        caption = next((i for i, line in enumerate(lines) if ', torch ' in line), 0)
        text = '\n'.join(lines[caption:])
    else:
        text = block(lines[-MOST_LINES:])
    if result == 'passed':
        return text
    last = errors.read_text(errors='replace').splitlines()[-LAST_LINES:]
    return f'{text}\n\nThe end of {errors.name}:\n\n{block(last)}'


def block(lines: Sequence[str]) -> str:
    """Lines as they are."""
    return '\n'.join(['```', *lines, '```'])


def report(outcomes: Sequence[Outcome], small: bool) -> str:
    """The report of the parts that have ended, Markdown."""
    return '\n\n'.join(_sections(outcomes, small)) + '\n'


def _sections(outcomes: Sequence[Outcome], small: bool) -> Iterator[str]:
    yield '# All of it small, on the CPU' if small else '# A day with a GPU'
    yield f'{time.strftime("%Y-%m-%d")}. Each part stands below with its command.'
    yield markdown.table(['part', 'result', 'seconds', 'at most'], [one.row() for one in outcomes])
    for one in outcomes:
        yield f'## {one.part.name[0].upper()}{one.part.name[1:]}'
        yield f'`python {shlex.join(one.part.command)}`: {one.result}.'
        yield one.text


def main() -> None:
    args = parse_args()
    out = args.out.resolve()
    env = dict(os.environ)
    if args.small:
        # Small models gain nothing by threads.
        env.update(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
    else:
        import torch

        if not torch.cuda.is_available():
            sys.exit('error: this torch finds no CUDA GPU; --small runs all of it small, on the CPU')
    out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for part in small_parts_of(out) if args.small else parts_of(out):
        outcomes.append(run(part, out, env))
        print(f'{part.name}: {outcomes[-1].result}, {outcomes[-1].seconds:.0f} s', flush=True)
        (out / 'report.md').write_text(report(outcomes, args.small))
    print(f'The report: {out / "report.md"}')
    sys.exit(0 if all(one.is_good for one in outcomes) else 1)


if __name__ == '__main__':
    main()
