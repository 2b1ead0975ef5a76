"""Time a data loader on tar shards with sidecars against a folder with a cache: same images and pipeline.

    python benchmarks/tar_shards.py --images 4000 --rounds 5

An epoch of each is read in turn, by one worker. "cold" drops the files from the system's page cache first.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from lfi.apis.caching import cache_teacher
from lfi.config_files import find_config
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.config_loading import load_config
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from pairs import add_rounds

CONFIG = 'classification/lfi_vit-128x6-p8_shapes.py'
BATCH = 64


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--images', type=int, default=4000, help='images (%(default)s)')
    parser.add_argument('--size', type=int, default=256, help='side of an image in pixels (%(default)s)')
    parser.add_argument('--shard', type=int, default=1000, help='images in a tar file (%(default)s)')
    add_rounds(parser, 5)
    return parser.parse_args()


def write_images(folder: Path, images: int, size: int, shard: int) -> tuple[list[Path], list[Path]]:
    """Write JPEGs into class folders and, in a random order, into tar files; return both lists of files."""
    random, files, tars = np.random.default_rng(0), [], []
    for index in range(images):
        # Noise of few frequencies, which JPEG compresses as it does a photo.
        coarse = random.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        file = folder / f'images/{index % 20:02}/{index:06}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))
        files.append(file)
    for number, start in enumerate(range(0, images, shard)):
        tars.append(folder / f'train-{number:03}.tar')
        with tarfile.open(tars[-1], 'w', format=tarfile.USTAR_FORMAT) as tar:
            for index in random.permutation(images)[start : start + shard].tolist():
                tar.add(files[index], f'{index:06}.jpg')
                label = str(index % 20).encode()
                info = tarfile.TarInfo(f'{index:06}.cls')
                info.size = len(label)
                tar.addfile(info, io.BytesIO(label))
    return files, tars


def config_of(**dataset: object) -> Config:
    """Return the config of a training on a data set of image files."""
    cfg = load_config(find_config(CONFIG))
    loader = cfg.train_dataloader
    pipeline = [ConfigDict(type='LoadImageFromFile'), *loader.dataset.pipeline]
    loader.dataset = ConfigDict(_scope_='mmpretrain', pipeline=pipeline, **dataset)
    loader.update(num_workers=1, persistent_workers=True, batch_size=BATCH)
    loader.collate_fn = {'type': 'default_collate'}
    return cfg


def batches_of(cfg: Config, cache: str) -> Iterator[dict]:
    """Write the cache of a config, and return an endless iterator of its batches."""
    cache_teacher(cfg, cache, BATCH, 1)
    cfg.model.teacher.cache = cache
    set_teacher_cache(cfg)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    return iter(loader)


def seconds_of(batches: Iterator[dict], count: int) -> float:
    start = time.perf_counter()
    for _ in islice(batches, count):
        pass
    return time.perf_counter() - start


def drop(files: list[Path]) -> None:
    """Drop files from the system's page cache."""
    os.sync()
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def compare(
    name: str,
    tars: Iterator[dict],
    folder: Iterator[dict],
    prepare: Callable[[], None],
    count: int,
    rounds: int,
) -> None:
    """Print a row: images/s of both, and the ratio of each pair of rounds."""
    times: dict[str, list[float]] = {'tars': [], 'folder': []}
    for number in range(rounds + 1):
        for key, batches in (('tars', tars), ('folder', folder))[:: 1 if number % 2 else -1]:
            prepare()
            elapsed = seconds_of(batches, count)
            # The first round warms up.
            if number:
                times[key].append(elapsed)
    ratios = [peer / ours for ours, peer in zip(times['tars'], times['folder'])]
    low, _, high = quantiles(ratios, n=4)
    rates = [f'{count * BATCH / median(times[key]):,.0f}' for key in ('tars', 'folder')]
    print(f'| {name} | {rates[0]} | {rates[1]} | {median(ratios):.2f} | {low:.2f} to {high:.2f} |')


def main() -> None:
    args = parse_args()
    with TemporaryDirectory() as name, DefaultScope.overwrite_default_scope('mmpretrain'):
        root = Path(name)
        files, tars = write_images(root, args.images, args.size, args.shard)
        urls = [str(tar) for tar in tars]
        of_tars = config_of(type='lfi.WebDataset', urls=urls, shuffle=1000)
        of_tars.train_dataloader.sampler = None
        of_folder = config_of(type='CustomDataset', data_root=str(root / 'images'), with_label=True)
        of_folder.train_dataloader.sampler = ConfigDict(type='InfiniteSampler', shuffle=True)
        caches = [str(root / 'tar_maps'), str(root / 'folder_maps')]
        streams = batches_of(of_tars, caches[0]), batches_of(of_folder, caches[1])
        every = [*files, *tars, *(file for cache in caches for file in Path(cache).iterdir())]
        count = args.images // BATCH
        print('| files | tars, images/s | folder, images/s | ratio, median of pairs | quartiles |')
        print('| --- | --- | --- | --- | --- |')
        compare('warm', *streams, lambda: None, count, args.rounds)
        compare('cold', *streams, lambda: drop(every), count, args.rounds)


if __name__ == '__main__':
    main()
