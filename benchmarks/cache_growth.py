"""Growth of a cache: opening it, a first random batch, and the listing of a folder, by the number of images.

    python benchmarks/cache_growth.py --images 200000 2000000 20000000 --files 2000000

Records are small (one location, four concepts) and synthetic. Each cache is opened in a process of its own.
Files are empty: the time is that until the first image would be loaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lfi.datasets import ImageFolder
from lfi.datasets.image_paths import distinct_images, distinguishing_parts
from lfi.structures import InteractionMaps, pack
from lfi.structures.interaction_cache import (
    CacheManifest,
    CacheWriter,
    InteractionCache,
    image_keys,
    make_records,
    shard_name,
)

BATCH = 64


def write_cache(folder: Path, num_images: int) -> None:
    """Write a cache of synthetic maps, shard by shard."""
    maps = InteractionMaps(
        torch.randn(1, 1, 4, 1, 1), torch.rand(1, 4), torch.ones(1, 1, 1, dtype=torch.bool)
    )
    texts = np.eye(4, dtype=np.float32)
    manifest = CacheManifest.of({'concepts': list('abcd')}, num_images, 2, texts, maps)
    writer, packed = CacheWriter(folder, manifest, texts), pack(maps)
    for shard in range(manifest.num_shards):
        rows = manifest.rows(shard)
        records = make_records(np.repeat(packed[:, None], len(rows), 0), np.zeros((len(rows), 1), np.uint32))
        writer.write(shard_name(shard), image_keys([path_of(row) for row in rows], 2), records)
    writer.finish()


def path_of(row: int) -> str:
    """Return the path of an image."""
    return f'/photos/{row >> 14}/{row}.jpg'


def resident_mb() -> float:
    """Return the resident memory of this process in MB, mapped files included. Linux only."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def open_cache(folder: str, num_images: int) -> None:
    """Open a cache, read a random batch, and print seconds and the growth of memory in MB."""
    paths = [path_of(int(row)) for row in np.random.default_rng(0).integers(num_images, size=BATCH)]
    before = resident_mb()
    start = time.perf_counter()
    cache = InteractionCache(folder)
    opened = time.perf_counter()
    cache.read(paths)
    read = time.perf_counter()
    print(json.dumps([opened - start, read - opened, resident_mb() - before]))


def list_folder(folder: Path, num_files: int) -> list[float]:
    """Make empty files, and return the seconds to list them and to find the parts of their names."""
    for row in range(num_files):
        path = folder / path_of(row).lstrip('/')
        if row % 2**14 == 0:
            path.parent.mkdir(parents=True)
        path.touch()
    start = time.perf_counter()
    dataset = ImageFolder(folder)
    listed = time.perf_counter()
    paths, _ = distinct_images(dataset)
    parts = distinguishing_parts(dataset, paths)
    named = time.perf_counter()
    image_keys([paths[row] for row in range(256)], parts)
    return [listed - start, named - listed]


def main() -> None:
    """Print a table of all numbers of images."""
    parser = argparse.ArgumentParser(description='Time a cache by its number of images')
    parser.add_argument('--images', type=int, nargs='+', default=[200_000, 2_000_000], metavar='N')
    parser.add_argument('--files', type=int, default=200_000, metavar='N', help='files of the listed folder')
    parser.add_argument('--open', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        open_cache(args.open[0], int(args.open[1]))
        return
    print('| images | open, s | first random batch of 64, s | memory, MB | bytes an image |')
    print('| --- | --- | --- | --- | --- |')
    for num_images in args.images:
        with tempfile.TemporaryDirectory() as folder:
            write_cache(Path(folder), num_images)
            command = [sys.executable, __file__, '--open', folder, str(num_images)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, batch, memory = json.loads(printed.splitlines()[-1])
            size = InteractionCache(folder).num_bytes / num_images
        print(f'| {num_images:,} | {seconds:.3f} | {batch:.3f} | {memory:.1f} | {size:.0f} |', flush=True)
    if args.files:
        with tempfile.TemporaryDirectory() as folder:
            listed, named = list_folder(Path(folder), args.files)
        print(f'\n{args.files:,} files: listed in {listed:.2f} s, names compared in {named:.2f} s')


if __name__ == '__main__':
    main()
