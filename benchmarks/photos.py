"""Train part of the study of photos in mixed precision, and compare with the published results of the CPU.

python benchmarks/photos.py --out work_dirs/photos
python benchmarks/photos.py --out work_dirs/photos --small    # one epoch of few images, as a smoke test

Tiny-ImageNet and the teacher must be below LFI_DATA_ROOT and LFI_TEACHER_ROOT. The exit status is 1 if an
arm's mean is more than three standard errors from the published mean.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path

import torch
from lfi.engine.machine import machine
from lfi.utils import markdown

from research.studies.paired import mean_and_spread
from research.studies.presets import PRESETS
from research.studies.published import FOLDER, file_of
from research.studies.runs import metric_name
from research.studies.study import read_cells

ROOT = Path(__file__).resolve().parents[1]
STUDY = 'tiny-small'
SMALL = (
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.images_per_class=2',
    'train_dataloader.num_workers=0',
    'val_dataloader.num_workers=0',
    'test_dataloader.dataset.images_per_class=1',
    'test_dataloader.num_workers=0',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', required=True, help='folder of the study')
    parser.add_argument('--arms', nargs='+', default=['task-loss', 'lfi'], help='(%(default)s)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='(%(default)s)')
    parser.add_argument('--jobs', type=int, default=3, help='trainings at a time (%(default)s)')
    parser.add_argument('--small', action='store_true', help='one epoch of few images with one seed')
    return parser.parse_args()


def train(args: argparse.Namespace) -> None:
    """Run the cells of the study without a result."""
    amp = 'AmpOptimWrapper' if torch.cuda.is_available() else 'lfi.CPUAmpOptimWrapper'
    command = ['-m', 'research', 'study', STUDY, '--out', args.out, '--jobs', args.jobs]
    command += ['--arms', *args.arms, '--seeds', *args.seeds, '--cfg-options', f'optim_wrapper.type={amp}']
    if args.small:
        command += SMALL
    # The study's report is also in its folder.
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, stdout=sys.stderr, check=True)


def read_test_metrics(file: Path) -> dict[str, list[float]]:
    """Read the test metric of each arm's seeds."""
    metrics: dict[str, list[float]] = {}
    for (arm, *_), cell in read_cells(file, metric_name(PRESETS[STUDY].metrics[0])).items():
        metrics.setdefault(arm, []).append(cell.test)
    return metrics


def is_near(values: Sequence[float], published: Sequence[float]) -> bool:
    """Whether the means are within three standard errors, by the spread of the published values."""
    error = statistics.stdev(published) * sqrt(1 / len(values) + 1 / len(published))
    return abs(statistics.mean(values) - statistics.mean(published)) <= 3 * error


def compare(results: Mapping[str, Sequence[float]], published: Mapping[str, Sequence[float]]) -> str:
    """Format a Markdown table with a row for each arm."""
    rows = [
        (
            arm,
            f'{mean_and_spread(tests)} (n={len(tests)})',
            f'{mean_and_spread(published[arm])} (n={len(published[arm])})',
            f'{statistics.mean(tests) - statistics.mean(published[arm]):+.1f}',
            'yes' if is_near(tests, published[arm]) else 'NO',
        )
        for arm, tests in results.items()
    ]
    titles = ['arm', 'here, mixed precision', 'published, CPU', 'difference', 'within 3 standard errors']
    return markdown.table(titles, rows)


def main() -> None:
    args = parse_args()
    if args.small:
        args.seeds, args.jobs = args.seeds[:1], 1
    preset = PRESETS[STUDY]
    train(args)
    results = read_test_metrics(file_of(preset, 'results', preset.metrics[0], Path(args.out)))
    published = read_test_metrics(file_of(preset, STUDY, preset.metrics[0], ROOT / FOLDER))
    print(f'{metric_name(preset.metrics[0])} of {STUDY} on the test images, {machine()}\n')
    print(compare(results, published))
    if args.small:
        print('\nOne epoch of few images: the numbers are meaningless.')
    elif not all(is_near(tests, published[arm]) for arm, tests in results.items()):
        sys.exit(1)


if __name__ == '__main__':
    main()
