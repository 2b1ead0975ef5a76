"""Compare training runs, or a method with its baseline over several seeds.

Single runs: a table, learning curves, and for the last LFI run the student's answers about two images and
interaction maps of teacher and student.

    python -m research compare BASELINE_DIR RUN_DIR [...] --out report.png report.html

Over seeds: means, paired differences, and the method's speed-up over its baseline, with the same schedule and
with complete shorter ones (--short).

    python -m research compare --baseline DIR0 DIR1 --method DIR0 DIR1 \\
        [--short DIR0 DIR1 ...] --out curves.png
"""

from __future__ import annotations

from argparse import Namespace

from lfi.cli.arguments import ArgumentParser, not_negative, whole
from lfi.cli.running import run_tool


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='*', metavar='WORK_DIR', help='single runs, the baseline first')
    for name in ('baseline', 'method'):
        parser.add_argument(
            f'--{name}', nargs='+', default=[], metavar='WORK_DIR', help=f'runs of the {name}, seed by seed'
        )
    parser.add_argument(
        '--short',
        nargs='+',
        default=[],
        metavar='WORK_DIR',
        help='runs of the method with complete schedules of fewer epochs, seed by seed, for the equal finish',
    )
    parser.add_argument(
        '--metrics', nargs='+', default=['accuracy/top1'], help='validation metrics (%(default)s)'
    )
    parser.add_argument(
        '--teacher-seconds',
        type=not_negative,
        default=0.0,
        help='seconds spent on the teacher before training, by lfi cache (%(default)s)',
    )
    parser.add_argument('--names', nargs='+', help='names of single runs (default: names of the folders)')
    parser.add_argument(
        '--epochs', action='store_true', help='also print one row per epoch of each single run'
    )
    parser.add_argument(
        '--where',
        metavar='FILE',
        help='metrics of the last run, written by tools/test.py --out-item metrics with a '
        'semantic-consistency config: adds the localization table',
    )
    parser.add_argument(
        '--out',
        nargs='+',
        default=[],
        metavar='FILE',
        help='picture with the curves and the maps of the last LFI run; a page (.html) also has the tables '
        'of single runs',
    )
    parser.add_argument(
        '--images', type=whole, default=6, help='images with maps in the picture (%(default)s)'
    )
    args = parser.parse_args()
    if bool(args.work_dirs) == bool(args.baseline or args.method):
        parser.error('give single runs, or a --baseline and a --method')
    if args.where and not args.work_dirs:
        parser.error('--where belongs to single runs: it has metrics of the last one')
    if args.work_dirs and (args.short or args.teacher_seconds):
        parser.error('--short and --teacher-seconds belong to a --baseline and a --method')
    if not args.work_dirs and args.epochs:
        parser.error('--epochs belongs to single runs')
    if args.names and len(args.names) != len(args.work_dirs):
        parser.error(f'--names gives {len(args.names)} names for {len(args.work_dirs)} runs')
    if len(args.baseline) != len(args.method):
        parser.error(
            f'{len(args.baseline)} runs of the baseline and {len(args.method)} of the method: give the same '
            'number of both, seed by seed'
        )
    return args


def main(args: Namespace) -> None:
    from research.studies import compare_runs

    compare_runs.main(args)


def run() -> None:
    """Run the command."""
    # Folders without a run and runs that do not pair up are errors of usage.
    run_tool(main, parse_args(), FileNotFoundError, ValueError)
