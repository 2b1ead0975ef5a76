"""How much sooner a method gets where its control ends: two protocols, in epochs and in seconds, and a plot.

python tools/analysis_tools/convergence.py --control DIR0 DIR1 --method DIR0 DIR1 \\
    [--short DIR0 DIR1 ...] --out curves.png
"""

from __future__ import annotations

import argparse

import lfi  # noqa: F401
import matplotlib

matplotlib.use('Agg')
from lfi.engine import launch
from lfi.studies import Run, equal_finish_table, read_run, same_schedule_table
from lfi.studies.convergence_figure import draw_convergence


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ('control', 'method'):
        parser.add_argument(
            f'--{name}', nargs='+', required=True, metavar='WORK_DIR', help=f"the {name}'s runs, seed by seed"
        )
    parser.add_argument(
        '--short',
        nargs='+',
        default=[],
        metavar='WORK_DIR',
        help="the method's complete schedules of fewer epochs, seed by seed, for the equal finish",
    )
    parser.add_argument('--metric', default='accuracy/top1', help='validation metric (%(default)s)')
    parser.add_argument(
        '--teacher-seconds',
        type=float,
        default=0.0,
        help='spent on the teacher before training: what tools/cache_teacher.py took (%(default)s)',
    )
    parser.add_argument('--out', help='write the curves to this picture')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    def read(folders: list[str]) -> list[Run]:
        return [read_run(folder, metric=args.metric) for folder in folders]

    control, method, short = read(args.control), read(args.method), read(args.short)
    print(f'Same schedule:\n\n{same_schedule_table(control, method, args.teacher_seconds)}')
    if short:
        print(f'\nEqual finish:\n\n{equal_finish_table(control, short)}')
    if args.out:
        draw_convergence(control, method, args.teacher_seconds).savefig(args.out, dpi=110)
        print(f'\nThe picture is {args.out}')


if __name__ == '__main__':
    # Of folders that hold no run, and of runs that are no pairs.
    launch.run(main, FileNotFoundError, ValueError)
