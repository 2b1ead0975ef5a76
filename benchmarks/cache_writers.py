"""Time writers of a cache of tar shards that start by themselves: four processes against one.

    python benchmarks/cache_writers.py

The teacher's pass is a wait, as if each writer had a device of its own: they would else share the cores of
this machine. The rate is that of the sidecars between a writer's first and its last one, by their times, so
that the start of a process does not count.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from lfi.cli.arguments import positive
from lfi.datasets import Shapes
from lfi.structures.interaction_cache import sidecar_name
from lfi.utils.stores import list_files

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / 'configs/classification/lfi_vit-128x6-p8_shapes.py'
CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['lfi', 'waiting_teacher'], allow_failed_imports=False)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='lfi.WebDataset',
        urls='data/train-{{000..{last:03}}}.tar',
        pipeline=[dict(type='LoadImageFromFile'), *_base_.train_dataloader.dataset.pipeline],
    )
)
"""
WAITING = """
import os, time
import torch
from lfi.apis.caching.job import AskedTeacher
from lfi.structures import InteractionMaps

ask, answers = AskedTeacher.compute_maps, {}


def wait(job, batch):
    count = len(batch['inputs'])
    if count not in answers:
        answers[count] = ask(job, batch)
    time.sleep(count * float(os.environ['WAIT']))
    return answers[count]


AskedTeacher.compute_maps = wait
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--shards', type=positive, default=48, help='tar shards (%(default)s)')
    parser.add_argument('--images', type=positive, default=32, help='images of a shard (%(default)s)')
    parser.add_argument(
        '--wait', type=float, default=0.03, help='seconds of the teacher for an image (%(default)s)'
    )
    parser.add_argument('--processes', type=positive, nargs='+', default=[1, 4], help='numbers to compare')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'tars.py').write_text(CONFIG.format(base=str(BASE), last=args.shards - 1))
        (folder / 'waiting_teacher.py').write_text(WAITING)
        write_tars(folder / 'data', args.shards, args.images)
        rates = {count: rate(folder, count, args) for count in args.processes}
    first = args.processes[0]
    print('| processes | images a second | of linear |\n| --- | --- | --- |')
    for count, value in rates.items():
        print(f'| {count} | {value:.1f} | {value / rates[first] * first / count:.2f} |')


def write_tars(folder: Path, shards: int, images: int) -> None:
    """Write tar shards of Shapes."""
    folder.mkdir()
    data = Shapes('train', num_images=images)
    contents = [cv2.imencode('.png', data.get_data_info(i)['img'])[1].tobytes() for i in range(images)]
    for shard in range(shards):
        with tarfile.open(folder / f'train-{shard:03}.tar', 'w') as tar:
            for image, content in enumerate(contents):
                member = tarfile.TarInfo(f'{image:04}.png')
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def rate(folder: Path, count: int, args: argparse.Namespace) -> float:
    """Return the images a second of some processes together."""
    out = folder / f'maps-{count}'
    env = {
        **os.environ,
        'WAIT': str(args.wait),
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': f'{ROOT}/projects:{folder}',
    }
    command = [sys.executable, '-m', 'lfi', 'cache', 'tars.py', '--out', str(out), '--num-workers', '0']
    writers = [
        subprocess.Popen(
            [*command, '--rank', str(rank), '--world', str(count)],
            cwd=folder,
            env=env,
            stdout=subprocess.DEVNULL,
        )
        for rank in range(count)
    ]
    for writer in writers:
        if writer.wait():
            raise SystemExit('a writer failed')
    files, total = list_files(str(out)), 0.0
    tars = [f'train-{shard:03}.tar' for shard in range(args.shards)]
    for rank in range(count):
        times = sorted(files[sidecar_name(tar)].modified for tar in tars[rank::count])
        total += args.images * (len(times) - 1) / (times[-1] - times[0])
    return total


if __name__ == '__main__':
    main()
