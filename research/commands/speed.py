"""Time a training step of students of several sizes, and draw how much slower LFI is than a plain student.

    LFI_TEACHER_ROOT=... python -m research speed            # eight minutes on two cores
    python -m research speed --draw                          # draws the CSV file again

`benchmarks/step.py` times each student. The machine must have nothing else to do.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import lfi
from lfi.cli.arguments import ArgumentParser, positive
from lfi.cli.running import run_tool
from lfi.errors import UsageError
from lfi.utils.matplotlib_settings import save_figure

from ..studies.published import FOLDER

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = {
    'vit-128x6': ('--num-classes', '20', '--max-concepts', '20'),
    'deit-tiny': ('--num-classes', '50'),
}
"""Arguments of benchmarks/step.py for students of photos of 64 px, by `--arch`."""
STUDENTS = {
    **PHOTOS,
    'deit-small': ('--batch-size', '8'),
    'resnet50': ('--batch-size', '8'),
    'base': ('--batch-size', '4'),
}
"""Arguments for all students, the smallest first. At 224 px the teacher is CLIP ViT-B/16."""


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--csv', type=Path, default=FOLDER / 'speed.csv', help='file of the ratios (%(default)s)'
    )
    parser.add_argument(
        '--figure', type=Path, default=Path('docs/images/speed-light.png'), help='(%(default)s)'
    )
    parser.add_argument('--students', nargs='+', choices=STUDENTS, default=list(STUDENTS), help='(all)')
    parser.add_argument('--rounds', type=positive, default=7, help='pairs of steps to time (%(default)s)')
    parser.add_argument('--draw', action='store_true', help='time nothing, and draw the file')
    return parser.parse_args()


def step_arguments(arch: str, args: Namespace) -> list[str]:
    """Return the arguments of benchmarks/step.py for a student."""
    arguments = ['--arch', arch, *STUDENTS[arch], '--rounds', str(args.rounds), '--csv', str(args.csv)]
    if arch in PHOTOS:
        teacher = lfi.teacher_config('lit-lite0', concepts=[])['model']
        arguments += ['--teacher', teacher, '--extractor', 'dense', '--teacher-size', '160']
        arguments += ['--img-size', '64', '--patch-size', '8', '--batch-size', '64']
    return arguments


def main(args: Namespace) -> None:
    if not args.draw:
        for arch in args.students:
            command = [sys.executable, str(ROOT / 'benchmarks/step.py'), *step_arguments(arch, args)]
            subprocess.run(command, check=True)
    if not args.csv.is_file():
        raise UsageError(f'--csv {args.csv} is not there: leave out --draw to write it')
    import matplotlib

    matplotlib.use('Agg')
    from ..studies.speed_figure import draw_speed, read_ratios

    args.figure.parent.mkdir(parents=True, exist_ok=True)
    save_figure(draw_speed(read_ratios(args.csv)), args.figure, dpi=110)


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args(), subprocess.CalledProcessError)
