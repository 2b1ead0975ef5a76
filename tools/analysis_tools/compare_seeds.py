"""Compare a method with its control over several seeds: means, spreads, and the paired difference.

python tools/analysis_tools/compare_seeds.py --control DIR0 DIR1 --method DIR0 DIR1 --metrics coco/segm_mAP
"""

from __future__ import annotations

import argparse

import lfi  # noqa: F401
from lfi.engine import launch
from lfi.studies import paired_table, read_run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare a method with its control over several seeds')
    for name in ('control', 'method'):
        parser.add_argument(
            f'--{name}', nargs='+', required=True, metavar='WORK_DIR', help=f"the {name}'s runs, seed by seed"
        )
    parser.add_argument(
        '--metrics', nargs='+', default=['accuracy/top1'], help='validation metrics (%(default)s)'
    )
    args = parser.parse_args()
    if len(args.control) != len(args.method) or len(args.control) < 2:
        parser.error(
            f'{len(args.control)} runs of the control and {len(args.method)} of the method: give as many of '
            'both, two or more, seed by seed'
        )
    return args


def main() -> None:
    args = parse_args()
    pairs = []
    for metric in args.metrics:
        pairs.append(
            tuple(
                [read_run(folder, metric=metric) for folder in runs] for runs in (args.control, args.method)
            )
        )
    print(paired_table(pairs))
    print()
    for name, runs in zip(('control', 'method'), pairs[0]):
        seconds = ', '.join(f'{run.seconds:.0f}' for run in runs)
        print(f'Training seconds of the {name}: {seconds}')


if __name__ == '__main__':
    # Of folders that hold no run, and of runs that are no pairs.
    launch.run(main, FileNotFoundError, ValueError)
