"""Compare training runs: single ones with the first, or a method with its baseline over several seeds.

Single runs: a table, the learning curves, what the student of the last LFI run answers about two images, and
where its teacher and it look.

    python tools/analysis_tools/compare_runs.py BASELINE_DIR RUN_DIR [...] --out report.png

Over seeds: means and paired differences, and how much sooner the method gets where its baseline ends, by the
same schedule and by complete shorter ones (--short).

    python tools/analysis_tools/compare_runs.py --baseline DIR0 DIR1 --method DIR0 DIR1 \\
        [--short DIR0 DIR1 ...] --out curves.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lfi  # noqa: F401
import matplotlib

matplotlib.use('Agg')
from lfi.engine import launch
from lfi.studies import compare_pairs, epoch_table, markdown_table, read_run
from lfi.studies.convergence_figure import draw_convergence
from lfi.studies.run_report import draw_report


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='*', metavar='WORK_DIR', help='single runs, the baseline first')
    for name in ('baseline', 'method'):
        parser.add_argument(
            f'--{name}', nargs='+', default=[], metavar='WORK_DIR', help=f"the {name}'s runs, seed by seed"
        )
    parser.add_argument(
        '--short',
        nargs='+',
        default=[],
        metavar='WORK_DIR',
        help="the method's complete schedules of fewer epochs, seed by seed, for the equal finish",
    )
    parser.add_argument(
        '--metrics', nargs='+', default=['accuracy/top1'], help='validation metrics (%(default)s)'
    )
    parser.add_argument(
        '--teacher-seconds',
        type=float,
        default=0.0,
        help='spent on the teacher before training: what tools/cache_teacher.py took (%(default)s)',
    )
    parser.add_argument('--names', nargs='+', help='names of single runs; default: those of the folders')
    parser.add_argument('--epochs', action='store_true', help='print one row an epoch of each single run too')
    parser.add_argument('--out', help='write the curves, and the maps of the last LFI run, to this picture')
    parser.add_argument('--images', type=int, default=6, help='images with maps in the picture (%(default)s)')
    args = parser.parse_args()
    if bool(args.work_dirs) == bool(args.baseline or args.method):
        parser.error('give single runs, or a --baseline and a --method')
    if args.names and len(args.names) != len(args.work_dirs):
        parser.error(f'--names gives {len(args.names)} names for {len(args.work_dirs)} runs')
    if len(args.baseline) != len(args.method):
        parser.error(
            f'{len(args.baseline)} runs of the baseline and {len(args.method)} of the method: give as many '
            'of both, seed by seed'
        )
    return args


def compare_single(args: argparse.Namespace) -> None:
    """Each run with the first."""
    work_dirs = [Path(work_dir) for work_dir in args.work_dirs]
    names = args.names or [None] * len(work_dirs)
    for metric in args.metrics:
        runs = [read_run(work_dir, name, metric) for work_dir, name in zip(work_dirs, names)]
        print(markdown_table(runs))
        if args.epochs:
            for run in runs:
                print(f'\n{run.name}\n\n{epoch_table(run)}')
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        draw_report(runs, work_dirs, args.images).savefig(args.out, dpi=110)


def compare_seeds(args: argparse.Namespace) -> None:
    """The method with its baseline, pair by pair."""
    found = {
        metric: [
            [read_run(folder, metric=metric) for folder in folders]
            for folders in (args.baseline, args.method, args.short)
        ]
        for metric in args.metrics
    }
    print(compare_pairs([tuple(runs) for runs in found.values()], args.teacher_seconds))
    if args.out:
        baseline, method, _ = found[args.metrics[0]]
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        draw_convergence(baseline, method, args.teacher_seconds).savefig(args.out, dpi=110)


def main() -> None:
    args = parse_args()
    (compare_single if args.work_dirs else compare_seeds)(args)
    if args.out:
        print(f'\nThe picture is {args.out}')


if __name__ == '__main__':
    # Of folders that hold no run, and of runs that are no pairs.
    launch.run(main, FileNotFoundError, ValueError)
