"""Time and accuracy of a first training from class folders: LFI against LightlyTrain.

All train the same ResNet-18 from random weights for the same number of epochs, at the size of the photos.
LFI trains by its two commands, and by three lines of Python, as LightlyTrain does. The time of LFI includes
the config and the cache of the teacher; LightlyTrain's `train_image_classification` has no teacher, and runs
in float32, since its default precision is slow on a CPU.

    python benchmarks/first_training.py --peer OTHER_VENV/bin/python --teacher lit-lite0 --out work_dirs/first
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

PEER = """
import json, lightly_train
data, classes, epochs, images, size, out = json.loads({arguments!r})
lightly_train.train_image_classification(
    out=out, data=dict(train=data + "/train", val=data + "/val", classes=dict(enumerate(classes))),
    model="torchvision/resnet18", steps=epochs * images // 32, batch_size=32, overwrite=True,
    precision="32-true", transform_args=dict(image_size=(size, size)),
)
"""

OURS = """
import json, lfi
data, teacher, epochs, size, out = json.loads({arguments!r})
if __name__ == "__main__":
    model = lfi.train(data, model="resnet18", teacher=teacher, epochs=epochs, input_size=size, out=out)
"""
Result = tuple[float, float]
"""Seconds and last top-1 of a training."""


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
    # The peer writes no page about its run.
    env = {**os.environ, 'LFI_REPORT': '0'}
    start = time.perf_counter()
    with log.open('a') as file:
        subprocess.run(command, check=True, stdout=file, stderr=subprocess.STDOUT, env=env)
    return time.perf_counter() - start


def run_commands(data: Path, out: Path, args: argparse.Namespace) -> Result:
    """Train by LFI's two commands."""
    config, log = out / 'lfi.py', out / 'lfi.log'
    for path in (config, log):
        path.unlink(missing_ok=True)
    shutil.rmtree(out / 'lfi', ignore_errors=True)
    lfi = [sys.executable, '-P', '-m', 'lfi']
    init = [*lfi, 'init', str(data), '--model', 'resnet18', '--teacher', args.teacher, '--out', str(config)]
    seconds = timed([*init, '--epochs', str(args.epochs), '--input-size', str(args.size)], log)
    seconds += timed([*lfi, 'train', str(config), '--cache-teacher', '--work-dir', str(out / 'lfi')], log)
    return seconds, _top1(log)


def run_python(data: Path, out: Path, args: argparse.Namespace) -> Result:
    """Train by three lines of LFI's Python."""
    log, folder = out / 'python.log', out / 'python'
    log.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    arguments = json.dumps([str(data), args.teacher, args.epochs, args.size, str(folder)])
    seconds = timed([sys.executable, '-P', '-c', OURS.format(arguments=arguments)], log)
    return seconds, _top1(log)


def _top1(log: Path) -> float:
    return float(re.findall(r'accuracy/top1: ([\d.]+)', log.read_text())[-1])


def run_peer(data: Path, classes: list[str], images: int, out: Path, args: argparse.Namespace) -> Result:
    """Train by three lines of LightlyTrain."""
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
    parser.add_argument('--repeats', type=int, default=1, help='times that all are run, in turn')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/first_training'))
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    source = Path(os.environ.get('LFI_DATA_ROOT', 'data')) / 'tiny-imagenet-200'
    classes = write_photos(source, out / 'photos', args.classes, args.per_class)
    images, data = args.classes * args.per_class, out / 'photos'
    print(f'{images} photos, {args.classes} classes, {args.epochs} epochs; seconds, top-1')
    results: dict[str, list[Result]] = {'commands': [], 'Python': [], 'LightlyTrain': []}
    for _ in range(args.repeats):
        results['commands'].append(run_commands(data, out, args))
        results['Python'].append(run_python(data, out, args))
        results['LightlyTrain'].append(run_peer(data, classes, images, out, args))
        print('   '.join(f'{name} {runs[-1][0]:.1f} {runs[-1][1]:.1f}' for name, runs in results.items()))
    peer = results.pop('LightlyTrain')
    for name, runs in results.items():
        ratios = [run[0] / other[0] for run, other in zip(runs, peer)]
        points = [run[1] - other[1] for run, other in zip(runs, peer)]
        print(
            f'{name}: time {median(ratios):.2f} of LightlyTrain ({min(ratios):.2f} to {max(ratios):.2f}), '
            f'top-1 {median(points):+.1f} points'
        )


if __name__ == '__main__':
    main()
