"""Disturb a tiny training by the faults of long runs, and write a report of the effects.

    python tools/dev/inject_faults.py
    python tools/dev/inject_faults.py --only disk-full changed-checkpoint --tries 1

If a run resumes after a fault, its final weights must equal an undisturbed run's bit for bit. The exit code
is 1 if a fault was not survived.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fault_bench import EPOCHS, ROOT, STEPS, Bench, NotSurvivedError
from fault_cache import teacher_cache
from fault_checkpoints import (
    changed_checkpoint,
    hostile_checkpoint,
    malicious_checkpoint,
    truncated_checkpoint,
)
from fault_disk import disk_full
from fault_images import nan_images, unreadable_images
from fault_kills import killed_worker, kills
from fault_row import Row
from fault_stores import stores
from lfi.engine import launch
from lfi.engine.machine import machine
from lfi.errors import UsageError

REPORT = ROOT / 'research' / 'reliability.md'
INTRODUCTION = """# Reliability

What LFI does when a run is killed, the disk is full, or a file is truncated, corrupted or hostile.
`python tools/dev/inject_faults.py` writes this page. It disturbs a training of {epochs} epochs of {steps}
steps on built-in Shapes (`tools/train.py`, two blocks, the built-in teacher, a checkpoint each epoch).

A run that continues by `--resume` must end with the weights of an undisturbed run, bit for bit. The training
has no augmentation: random crops (in persistent workers), dropout and stochastic depth restart their random
numbers on resume, and the weights then differ. A killed run is killed again after each resume until it
completes. `max_keep_ckpts` is 1 and 3 in turn, and the best checkpoint must be that of the undisturbed run.

Checkpoints are read by torch's restricted unpickler. Guards replace the names of numpy and mmengine that a
Runner's state needs, and accept only what a Runner writes: see `lfi.engine.checkpoints.globals`. A hostile
file can still exhaust memory, time or the stack and end its process, for example by tuples of tuples as the
key of a dict: read strangers' files in a separate process. Importing `lfi` does not change how other tools
read checkpoints; [your_model.md](../docs/your_model.md) explains how they opt in.

{machine}; {kills} kills, seed {seed}, {minutes:.0f} minutes.
"""
HEADER = '| fault | how it was made | times tried | effect | lost |\n| --- | --- | --- | --- | --- |'
FAULTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    'kills': kills,
    'killed-worker': killed_worker,
    'disk-full': disk_full,
    'truncated-checkpoint': truncated_checkpoint,
    'changed-checkpoint': changed_checkpoint,
    'malicious-checkpoint': malicious_checkpoint,
    'hostile-checkpoint': hostile_checkpoint,
    'unreadable-images': unreadable_images,
    'nan-images': nan_images,
    'teacher-cache': teacher_cache,
    'stores': stores,
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--kills', type=int, default=30, help='number of times that a run is killed (%(default)s)'
    )
    parser.add_argument(
        '--tries', type=int, default=3, help='tries of a fault with a random byte or time (%(default)s)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of random bytes and times (%(default)s)')
    parser.add_argument('--only', nargs='+', choices=FAULTS, help='faults to inject (all)')
    parser.add_argument(
        '--out',
        type=Path,
        metavar='FILE',
        help='report to write (research/reliability.md; with --only: none)',
    )
    args = parser.parse_args()
    for name in ('kills', 'tries'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    return args


def main() -> None:
    args = parse_args()
    # Sums on a GPU are not deterministic.
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    out = args.out or (None if args.only else REPORT)
    start, rows, failed = time.monotonic(), [], []
    print(HEADER, flush=True)
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder).resolve(), args.kills, args.tries, args.seed)
        for name in args.only or FAULTS:
            try:
                for row in FAULTS[name](bench):
                    rows.append(row)
                    print(row, flush=True)
            except NotSurvivedError as error:
                failed.append(f'{name}: {error}')
                print(f'{name} was not survived: {error}', file=sys.stderr, flush=True)
    if failed:
        raise UsageError(f'{len(failed)} faults were not survived; no report is written')
    if out is not None:
        introduction = INTRODUCTION.format(
            epochs=EPOCHS,
            steps=STEPS,
            machine=machine(),
            kills=args.kills,
            seed=args.seed,
            minutes=(time.monotonic() - start) / 60,
        )
        out.write_text('\n'.join([introduction, HEADER, *map(str, rows), '']))


if __name__ == '__main__':
    launch.run(main)
