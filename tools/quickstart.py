"""Train a student without LFI and with it, in minutes on embedded data, and compare.

The picture also shows what LFI's student answers: one image is asked about two things that it shows and one
that it does not, another about three that it does not show. The presence of each stands above its map.

It runs, with the same seed and schedule, what these commands run, and goes on where it was stopped:

    D=work_dirs/quickstart
    python tools/train.py configs/baselines/task-loss_vit-tiny_shapes.py --work-dir $D/task-loss
    python tools/cache_teacher.py configs/classification/lfi_vit-tiny_shapes.py --out $D/cache
    python tools/train.py configs/classification/lfi_vit-tiny_shapes.py --work-dir $D/lfi \\
        --cfg-options model.teacher_cache=$D/cache
    python tools/analysis_tools/compare_runs.py $D/task-loss $D/lfi --out $D/report.png
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

from lfi.arguments import ArgumentParser
from lfi.errors import UsageError
from lfi.tools import run_tool

ROOT = Path(__file__).resolve().parent.parent
BASELINE = 'configs/baselines/task-loss_vit-tiny_shapes.py'
LFI = 'configs/classification/lfi_vit-tiny_shapes.py'


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir', default='work_dirs/quickstart', help='folder of both runs (%(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of both runs (%(default)s)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change both configs, as tools/train.py',
    )
    return parser.parse_args()


def train(name: str, config: str, work_dir: str, options: list[str]) -> None:
    """Train one arm, showing its progress; the complete log is in the work dir."""
    from lfi.studies.tool_output import tool_output

    command = [sys.executable, 'tools/train.py', config, '--work-dir', work_dir, '--resume']
    command += ['--cfg-options', *options]
    print(f'[{name}] {" ".join(command)}', flush=True)
    for line in tool_output(command, f'training {name}', cwd=ROOT):
        if 'Epoch(' in line:
            print(f'[{name}] Epoch({line.split("Epoch(", 1)[1].rstrip()}', flush=True)


def run(tool: str, *args: str) -> None:
    """Run a tool that shows its own progress."""
    process = subprocess.run([sys.executable, tool, *args], cwd=ROOT)
    if process.returncode:
        raise UsageError(f'{tool} failed with exit code {process.returncode}')


def main(args: Namespace) -> None:
    work_dir = Path(args.work_dir).resolve()
    start = time.monotonic()
    options = [f'randomness.seed={args.seed}', *args.cfg_options]
    baseline, method, cache = (str(work_dir / name) for name in ('task-loss', 'lfi', 'cache'))
    train('task-loss', BASELINE, baseline, options)
    print('[lfi] the teacher looks at each training image once', flush=True)
    run('tools/cache_teacher.py', LFI, '--out', cache, '--cfg-options', *options)
    train('lfi', LFI, method, [*options, f'model.teacher_cache={cache}'])
    print(f'\nBoth runs took {(time.monotonic() - start) / 60:.1f} minutes.\n', flush=True)
    run('tools/analysis_tools/compare_runs.py', baseline, method, '--out', str(work_dir / 'report.png'))


if __name__ == '__main__':
    run_tool(parse_args, main)
