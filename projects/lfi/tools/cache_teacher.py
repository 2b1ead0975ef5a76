"""A cache of what a teacher says about the training images of a config."""

from __future__ import annotations

import math
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.model.utils import stack_batch
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lfi.config_types import model_config
from lfi.datasets import unaugmented
from lfi.engine.cache_labels import labels_of
from lfi.engine.config_loading import load_config
from lfi.engine.pipelines import steps_that_read_maps
from lfi.engine.processes import start_processes
from lfi.errors import UsageError
from lfi.models.teachers import (
    CacheManifest,
    CacheWriter,
    InteractionCache,
    PixelFormat,
    TeacherBatch,
)
from lfi.models.teachers.cached_teacher import open_cache
from lfi.option_values import option_of
from lfi.structures import InteractionMaps, pack, unpack, without_maps
from lfi.structures.interaction_cache import keep_sizes, keys_of, name_parts

# Half precision, and other kernels than those that wrote the cache.
PRESENCE_TOLERANCE = 0.01


class TeacherJob:
    """A config's teacher and its training images, each once and as it is on disk."""

    def __init__(self, cfg: Config) -> None:
        if 'teacher' not in cfg.model:
            raise UsageError('the config has no model.teacher to ask')
        self.model = MODELS.build({**model_config(cfg), 'teacher_cache': None})
        self.identity = self.model.cache_identity()
        reads_labels = getattr(self.model, 'reads_labels', True)
        self.labels = labels_of(cfg.train_dataloader.dataset, reads_labels)
        self.dataset: Dataset = DATASETS.build(unaugmented(cfg.train_dataloader.dataset))
        index_of: dict[str, int] = {}
        for i in range(len(self.dataset)):
            info = self.dataset.get_data_info(i)
            if 'img_path' not in info:
                raise UsageError('the data set gives no img_path: its images cannot be told apart')
            index_of.setdefault(info['img_path'], i)
        self.paths, self.indices = list(index_of), list(index_of.values())
        self.device = torch.device(get_device())

    def batches(self, rows: list[list[int]], num_workers: int) -> Iterator[dict]:
        """The images of the rows, batch by batch."""
        batches = [[self.indices[row] for row in batch] for batch in rows]
        yield from DataLoader(
            self.dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=pseudo_collate
        )

    def can_read_any(self, rows: list[int]) -> bool:
        """Whether one of the images can be read; a data set that skips gives another in its place."""
        return any(
            self.dataset[self.indices[row]]['data_samples'].img_path == self.paths[row] for row in rows
        )

    def ask(self, batch: dict) -> InteractionMaps:
        """The teacher's maps of a batch of unaugmented images."""
        sizes = [tuple(image.shape[-2:]) for image in batch['inputs']]
        # A byte a value, as images are stored: the teacher makes each one small by itself.
        inputs = stack_batch(batch['inputs']).to(self.device, non_blocking=True)
        samples = [sample.to(self.device) for sample in batch['data_samples']]
        return self.model.maps_to_cache(TeacherBatch(inputs, PixelFormat.raw(), sizes), samples)


def split(rows: range, size: int) -> list[list[int]]:
    """Rows in batches of `size`, the last one smaller."""
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]


def packed_maps(job: TeacherJob, batch: dict) -> np.ndarray:
    """The records of a batch.

    Raises:
        UsageError: The teacher's maps cannot be kept, as where they are not finite.
    """
    try:
        return pack(job.ask(batch))
    except ValueError as error:
        files = ', '.join(sample.img_path for sample in batch['data_samples'])
        raise UsageError(f'the maps of the teacher cannot be kept: {error}. The batch: {files}') from error


def write(job: TeacherJob, folder: Path, batch_size: int, num_workers: int) -> None:
    """Write this process's share of the shards that are still missing."""
    parts = name_parts(job.paths)
    keys = keys_of(job.paths, parts)
    # The shape of the maps is seen on the first image.
    maps = job.ask(next(job.batches([[0]], 0)))
    texts = job.model.teacher.texts.cpu().numpy()
    own_presence = job.model.teacher.own_presence
    manifest = CacheManifest.of(job.identity, keys, parts, texts, maps, job.labels, own_presence)
    if dist.get_rank() == 0:
        writer = CacheWriter(folder, manifest, keys, texts)
        keep_sizes(writer, job.paths)
    dist.barrier()
    if dist.get_rank() != 0:
        writer = CacheWriter(folder, manifest, keys, texts)

    mine = range(dist.get_rank(), manifest.num_shards, dist.get_world_size())
    missing = [shard for shard in mine if not writer.is_done(shard) or job.can_read_any(writer.unread(shard))]
    batches_of = {shard: split(manifest.rows(shard), batch_size) for shard in missing}
    batches = job.batches(sum(batches_of.values(), []), num_workers)
    total, to_do = (sum(len(manifest.rows(shard)) for shard in shards) for shards in (mine, missing))
    with tqdm(
        total=total, initial=total - to_do, unit=' images', disable=dist.get_rank() != 0, smoothing=0.05
    ) as bar:
        for shard, rows_of_batches in batches_of.items():
            records = []
            for rows in rows_of_batches:
                batch = next(batches)
                packed = packed_maps(job, batch)
                # A data set that skips unreadable images gives others in their place, as in training.
                for i, (row, sample) in enumerate(zip(rows, batch['data_samples'])):
                    if sample.img_path != job.paths[row]:
                        packed[i] = without_maps(1, packed.dtype)[0]
                records.append(packed)
                bar.update(len(rows))
            writer.write(shard, np.concatenate(records))
    unread = sum(len(writer.unread(shard)) for shard in mine)
    if unread:
        print(f'{unread} unreadable images have no maps')
    dist.barrier()


def verify(job: TeacherJob, folder: Path, batch_size: int, num_workers: int, n: int) -> bool:
    """Read all shards again, and compare the maps of n images with the teacher's; whether all is well.

    Raises:
        CacheError: as `open_cache` and `InteractionCache.read` say.
    """
    cache = open_cache(str(folder), job.identity)
    for shard in tqdm(range(cache.manifest.num_shards), unit=' shards'):
        cache.shard(shard)
    rows = np.random.default_rng(0).permutation(len(job.paths))[:n]
    worst = worst_presence = 0.0
    batches = [rows[i : i + batch_size].tolist() for i in range(0, len(rows), batch_size)]
    for rows_of_batch, batch in zip(tqdm(batches, unit=' batches'), job.batches(batches, num_workers)):
        maps = job.ask(batch)
        # In place of an unreadable image the data set gives another.
        read = [
            i
            for i, (row, sample) in enumerate(zip(rows_of_batch, batch['data_samples']))
            if sample.img_path == job.paths[row]
        ]
        if not read:
            continue
        records = cache.read([job.paths[rows_of_batch[i]] for i in read])
        kept = unpack(records, maps.layers, maps.directions, job.device)
        step = torch.from_numpy(records['step'].copy()).to(job.device)[..., None, None]
        # In steps of the kept map; half a step is the rounding's own.
        off = (kept.logits - maps.logits[read]).abs() / step.clamp_min(1e-6)
        if kept.concepts is not None and maps.concepts is not None:
            others = kept.concepts.ne(maps.concepts[read])[:, None, :, None, None]
            off = off.masked_fill(others, math.inf)
        worst = max(worst, off.nan_to_num(math.inf, posinf=math.inf).max().item())
        presence = (kept.presence - maps.presence[read]).abs().nan_to_num(math.inf)
        worst_presence = max(worst_presence, presence.max().item())
    good = worst <= 1 and worst_presence <= PRESENCE_TOLERANCE
    print(
        f'{cache.manifest.num_shards} shards match their checksums; of {len(rows)} images asked about again '
        f'logits are off by at most {worst:.2f} quantisation steps, and presence by {worst_presence:.3f}: '
        f'{"fine" if good else "NOT the same maps"}'
    )
    return good


def say_what_reads(cfg: Config, folder: str) -> None:
    """Say, before the teacher is asked, that the config's own training cannot read the maps from a folder."""
    try:
        steps_that_read_maps(cfg, folder)
    except UsageError as error:
        # Another config may.
        print(f'Training by this config cannot read the maps: {error}. Or let `lfi adapt` write the config')


def main(args: Namespace) -> None:
    """Run the tool."""
    cfg = load_config(args.config, args.cfg_options)
    start_processes(cfg, args.launcher, args.local_rank)
    if args.launcher != 'none' and not dist.is_distributed():
        dist.init_dist(args.launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    job = TeacherJob(cfg)
    if args.verify is not None:
        sys.exit(0 if verify(job, Path(args.out), args.batch_size, args.num_workers, args.verify) else 1)
    if dist.get_rank() == 0:
        say_what_reads(cfg, args.out)
    write(job, Path(args.out), args.batch_size, args.num_workers)
    if dist.get_rank() == 0:
        cache = InteractionCache(args.out)
        options = {**(args.cfg_options or {}), 'model.teacher_cache': args.out}
        pairs = [option_of(key, value) for key, value in options.items()]
        train = ['lfi', 'train', args.config, '--cfg-options', *pairs]
        print(
            f'{args.out}: maps of {cache.manifest.num_images:,} images, {cache.num_bytes / 1e6:.1f} MB.\n'
            f'{shlex.join(train)}'
        )
