"""LFI in minutes, on the embedded data: train a student with the task loss alone and with LFI, and compare.

It runs, with the same seed and schedule, what these commands run, and goes on where it was stopped:

    D=work_dirs/quickstart
    python tools/train.py configs/controls/task-loss_vit-tiny_shapes.py --work-dir $D/task-loss
    python tools/train.py configs/classification/lfi_vit-tiny_shapes.py --work-dir $D/lfi
    python tools/analysis_tools/compare_runs.py $D/task-loss $D/lfi --out $D/report.png
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = {
    'task-loss': 'configs/controls/task-loss_vit-tiny_shapes.py',
    'lfi': 'configs/classification/lfi_vit-tiny_shapes.py',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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


def train(name: str, config: str, work_dir: Path, options: list[str]) -> None:
    """Train one arm, showing its progress; the whole log is in the work dir."""
    command = [sys.executable, 'tools/train.py', config, '--work-dir', str(work_dir), '--resume']
    command += ['--cfg-options', *options]
    print(f'[{name}] {" ".join(command)}', flush=True)
    tail: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            tail.append(line)
            if 'Epoch(' in line:
                print(f'[{name}] Epoch({line.split("Epoch(", 1)[1].rstrip()}', flush=True)
    if process.returncode:
        sys.exit(f'{"".join(tail)}\nerror: training {name} failed with exit code {process.returncode}')


def main() -> None:
    args = parse_args()
    work_dir = Path(args.work_dir).resolve()
    start = time.monotonic()
    for name, config in RUNS.items():
        train(name, config, work_dir / name, [f'randomness.seed={args.seed}', *args.cfg_options])
    print(f'\nBoth runs took {(time.monotonic() - start) / 60:.1f} minutes.\n', flush=True)
    compare = [
        sys.executable,
        'tools/analysis_tools/compare_runs.py',
        *(str(work_dir / name) for name in RUNS),
    ]
    subprocess.run([*compare, '--out', str(work_dir / 'report.png')], cwd=ROOT, check=True)


if __name__ == '__main__':
    main()
