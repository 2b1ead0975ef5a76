"""Time and accuracy of a first training from class folders: LFI's two commands against LightlyTrain.

Both train the same ResNet-18 from random weights for the same number of epochs. LightlyTrain's
`train_image_classification` has no teacher. The time of LFI includes `lfi init` and the cache. LightlyTrain
runs in float32 and at the size of the photos, since its defaults are slow on a CPU.

    python benchmarks/first_training.py --peer OTHER_VENV/bin/python --teacher lit-lite0 --out work_dirs/first
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

PEER = """
import json, lightly_train
data, classes, epochs, images, size, out = json.loads({arguments!r})
lightly_train.train_image_classification(
    out=out, data=dict(train=data + "/train", val=data + "/val", classes=dict(enumerate(classes))),
    model="torchvision/resnet18", steps=epochs * images // 32, batch_size=32, overwrite=True,
    precision="32-true", transform_args=dict(image_size=(size, size)),
)
"""


def write_photos(source: Path, folder: Path, num_classes: int, per_class: int) -> list[str]:
    """Copy photos of Tiny-ImageNet into class folders below `train` and `val`, and return the classes."""
    words = dict(line.split('\t') for line in (source / 'words.txt').read_text().splitlines())
    ids = (source / 'wnids.txt').read_text().split()[:num_classes]
    names = {wnid: words[wnid].partition(',')[0].strip().replace(' ', '_') for wnid in ids}
    shutil.rmtree(folder, ignore_errors=True)
    for wnid, name in names.items():
        (folder / 'train' / name).mkdir(parents=True)
        (folder / 'val' / name).mkdir(parents=True)
        for image in sorted((source / 'train' / wnid / 'images').iterdir())[:per_class]:
            shutil.copy(image, folder / 'train' / name)
    with (source / 'val/val_annotations.txt').open() as file:
        for row in csv.reader(file, delimiter='\t'):
            if row[1] in names:
                shutil.copy(source / 'val/images' / row[0], folder / 'val' / names[row[1]])
    return sorted(names.values())


def timed(command: list[str], log: Path) -> float:
    """Run a command, and return its seconds; its output goes to `log`."""
    start = time.perf_counter()
    with log.open('a') as file:
        subprocess.run(command, check=True, stdout=file, stderr=subprocess.STDOUT)
    return time.perf_counter() - start


def run_lfi(data: Path, out: Path, args: argparse.Namespace) -> tuple[float, float]:
    """Return the seconds and the last top-1 of LFI's two commands."""
    config, log = out / 'lfi.py', out / 'lfi.log'
    for path in (config, log):
        path.unlink(missing_ok=True)
    shutil.rmtree(out / 'lfi', ignore_errors=True)
    lfi = [sys.executable, '-P', '-m', 'lfi']
    init = [*lfi, 'init', str(data), '--model', 'resnet18', '--teacher', args.teacher, '--out', str(config)]
    init += ['--epochs', str(args.epochs), *args.init_options]
    seconds = timed(init, log)
    seconds += timed([*lfi, 'train', str(config), '--cache-teacher', '--work-dir', str(out / 'lfi')], log)
    return seconds, float(re.findall(r'accuracy/top1: ([\d.]+)', log.read_text())[-1])


def run_peer(
    data: Path, classes: list[str], images: int, out: Path, args: argparse.Namespace
) -> tuple[float, float]:
    """Return the seconds and the last top-1 of LightlyTrain."""
    log = out / 'peer.log'
    log.unlink(missing_ok=True)
    arguments = json.dumps([str(data), classes, args.epochs, images, args.size, str(out / 'peer')])
    seconds = timed([args.peer, '-c', PEER.format(arguments=arguments)], log)
    top1 = re.findall(r'val_metric/top1_acc_micro +\| +([\d.]+)', log.read_text())
    return seconds, 100 * float(top1[-1])


def main() -> None:
    """Run both, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--peer', required=True, help='python of an environment with lightly-train')
    parser.add_argument('--teacher', default='clip-b16')
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--per-class', type=int, default=200)
    parser.add_argument('--size', type=int, default=64, help='side of the photos in pixels')
    parser.add_argument(
        '--init-options', type=shlex.split, default=[], metavar='TEXT', help='further options of lfi init'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/first_training'))
    parser.add_argument('--only', choices=('lfi', 'peer'))
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    source = Path(os.environ.get('LFI_DATA_ROOT', 'data')) / 'tiny-imagenet-200'
    classes = write_photos(source, out / 'photos', args.classes, args.per_class)
    images = args.classes * args.per_class
    rows = []
    if args.only != 'peer':
        rows.append(('LFI', *run_lfi(out / 'photos', out, args)))
    if args.only != 'lfi':
        rows.append(('LightlyTrain', *run_peer(out / 'photos', classes, images, out, args)))
    print(f'{images} photos, {args.classes} classes, {args.epochs} epochs')
    for name, seconds, top1 in rows:
        print(f'{name:14} {seconds:7.1f} s   top-1 {top1:5.1f}')
    if len(rows) == 2:
        print(f'ratio          {rows[0][1] / rows[1][1]:7.2f}     {rows[0][2] - rows[1][2]:+5.1f}')


if __name__ == '__main__':
    main()
