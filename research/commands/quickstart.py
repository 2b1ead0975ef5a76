"""Train a student without LFI and with it, in minutes on built-in data, and compare.

The picture also shows answers of LFI's student: one image is asked about two concepts that it shows and one
that it does not, another about three that it does not show. The presence of each concept is above its map.
The page also has the tables: training results, and localization of the student, its teacher and a centre map.

It runs these commands side by side, with the same seed, and resumes where it was stopped:

    D=work_dirs/quickstart O="train_cfg.max_epochs=4 param_scheduler.1.end=4"
    python tools/train.py configs/baselines/task-loss_vit-128x6-p8_shapes.py --work-dir $D/task-loss \\
        --cfg-options $O
    lfi cache configs/classification/lfi_vit-128x6-p8_shapes.py --out $D/cache
    python tools/train.py configs/classification/lfi_vit-128x6-p8_shapes.py --work-dir $D/lfi \\
        --cfg-options $O model.teacher.cache=$D/cache
    python tools/test.py configs/evaluation/lfi_vit-128x6-p8_shapes_semantic-consistency.py \\
        $D/lfi/epoch_4.pth --out $D/where.json --out-item metrics
    python -m research compare $D/task-loss $D/lfi --where $D/where.json \\
        --out $D/report.png $D/report.html
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lfi.cli.arguments import ArgumentParser, positive, whole
from lfi.cli.running import run_tool
from lfi.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
BASELINE = 'configs/baselines/task-loss_vit-128x6-p8_shapes.py'
LFI = 'configs/classification/lfi_vit-128x6-p8_shapes.py'
LOCALIZATION_TEST = 'configs/evaluation/lfi_vit-128x6-p8_shapes_semantic-consistency.py'


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir', default='work_dirs/quickstart', help='folder of both runs (%(default)s)'
    )
    parser.add_argument('--seed', type=whole, default=0, help='seed of both runs (%(default)s)')
    parser.add_argument('--epochs', type=positive, default=4, help='epochs of both schedules (%(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='options for both configs, as for tools/train.py',
    )
    args = parser.parse_args()
    if args.epochs < 2:
        parser.error(f'--epochs {args.epochs}: give 2 or more, since the first one is the warm-up')
    return args


def train(
    name: str, config: str, work_dir: Path, options: list[str], progress: Progress, epochs: int
) -> None:
    """Train one arm and show its progress; the complete log is in the work dir."""
    from research.studies.job_pool import threads_for
    from research.studies.tool_output import tool_output

    bar = progress.add_task(name, total=epochs)
    command = [sys.executable, 'tools/train.py', config, '--work-dir', str(work_dir), '--resume']
    command += ['--cfg-options', *options]
    # The quickstart has a page of its own.
    env = {'OMP_NUM_THREADS': threads_for(2), **os.environ, 'LFI_REPORT': '0'}
    for line in tool_output(command, f'training {name}', env, ROOT):
        if 'Epoch(val) [' in line and 'accuracy/top1: ' in line:
            epoch, metrics = line.split('Epoch(val) [', 1)[1].split(']', 1)
            progress.update(bar, completed=int(epoch))
            accuracy = metrics.split('accuracy/top1: ', 1)[1].split()[0]
            progress.console.print(f'{name}, epoch {epoch}: top-1 {float(accuracy):.1f}')


def compare(*args: str) -> None:
    """Run `python -m research compare` with these arguments."""
    process = subprocess.run([sys.executable, '-m', 'research', 'compare', *args], cwd=ROOT)
    if process.returncode:
        raise UsageError(f'python -m research compare failed with exit code {process.returncode}')


def main(args: Namespace) -> None:
    from research.studies.job import read_config
    from research.studies.job_pool import run_jobs
    from research.studies.run_mark import RunMark
    from research.studies.schedule import fitted_schedule
    from research.studies.settings_digest import settings_digest
    from research.studies.tool_output import tool_output

    folder = Path(args.work_dir).resolve()
    baseline, method, cache = (folder / name for name in ('task-loss', 'lfi', 'cache'))
    start = time.monotonic()
    data_options = [f'randomness.seed={args.seed}', *args.cfg_options]
    options = [*fitted_schedule(read_config(LFI), args.epochs), *data_options]
    mark = RunMark(folder / 'settings.json', settings_digest(options))
    # --resume would continue runs of another seed or schedule.
    mark.read()
    mark.write()

    def without_teacher(progress: Progress) -> str:
        train('task-loss', BASELINE, baseline, options, progress, args.epochs)
        return 'task-loss is trained'

    def with_teacher(progress: Progress) -> str:
        command = [
            sys.executable,
            '-m',
            'lfi',
            'cache',
            LFI,
            '--out',
            str(cache),
            '--cfg-options',
            *data_options,
        ]
        for _ in tool_output(command, 'the teacher', cwd=ROOT):
            pass
        progress.console.print('lfi: the cache of the teacher is written')
        train('lfi', LFI, method, [*options, f'model.teacher.cache={cache}'], progress, args.epochs)
        return 'lfi is trained'

    run_jobs([without_teacher, with_teacher], workers=2)
    print(f'\nBoth runs took {(time.monotonic() - start) / 60:.1f} minutes.\n', flush=True)
    checkpoint = (method / 'last_checkpoint').read_text()
    where = folder / 'where.json'
    command = [sys.executable, 'tools/test.py', LOCALIZATION_TEST, checkpoint]
    command += ['--work-dir', str(folder / 'where'), '--out', str(where), '--out-item', 'metrics']
    for _ in tool_output([*command, '--cfg-options', *data_options], 'the localization test', cwd=ROOT):
        pass
    report = [str(folder / f'report.{kind}') for kind in ('png', 'html')]
    compare(str(baseline), str(method), '--where', str(where), '--out', *report)


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())
