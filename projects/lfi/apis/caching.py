"""Writing and verifying a cache of a teacher's maps of the training images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.model.utils import stack_batch
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lfi.concepts.concept_check_hook import check_class_order, classes_of
from lfi.datasets import unaugmented
from lfi.engine.cache_labels import label_visibility
from lfi.engine.few_labels_option import check_few_labels
from lfi.engine.pipelines import (
    check_pipelines,
    check_unrecorded_steps,
    map_loading_steps,
    mixes_images,
)
from lfi.engine.watch_images import max_unreadable
from lfi.errors import UsageError, as_usage_error
from lfi.models.students.cache_targets import CacheTargets
from lfi.models.teachers.cached_teacher import open_cache
from lfi.structures import BatchView, InteractionMaps, missing_records, pack, unpack
from lfi.structures.interaction_cache import (
    CacheManifest,
    CacheWriter,
    InteractionCache,
    image_keys,
    name_parts,
    record_sizes,
)
from lfi.unreadable import (
    MAX_LOGGED,
    Counts,
    Unreadable,
    UnreadableImageError,
    UnreadableList,
    none_readable_error,
    refuse_too_many,
    refuse_unreadable,
)
from lfi.utils.config_types import model_config

# Allows for half precision, and for kernels that differ from those that wrote the cache.
PRESENCE_TOLERANCE = 0.01


class Batch(NamedTuple):
    """Batch of images, some of which may be unreadable.

    Args:
        data: the readable items, collated.
        positions: positions of the readable items in the batch.
        unreadable: unreadable images by position in the batch.
    """

    data: dict
    positions: list[int]
    unreadable: dict[int, Unreadable]


class TolerantDataset(Dataset):
    """Data set that returns an `Unreadable` in place of an image that cannot be read."""

    def __init__(self, dataset: Any) -> None:
        refuse_unreadable(dataset)
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except UnreadableImageError as error:
            return error.image


def collate(items: Sequence) -> Batch:
    """Collate items of a `TolerantDataset`."""
    unreadable = {i: item for i, item in enumerate(items) if isinstance(item, Unreadable)}
    positions = [i for i in range(len(items)) if i not in unreadable]
    return Batch(pseudo_collate([items[i] for i in positions]) if positions else {}, positions, unreadable)


class TeacherJob:
    """Teacher of a config, and its training images: each image once, without augmentation."""

    def __init__(self, cfg: Config) -> None:
        if not cfg.model.get('teacher'):
            raise UsageError('the config has no model.teacher to ask')
        self.cache_targets = CacheTargets(model_config(cfg))
        self.identity = self.cache_targets.identity
        if mixes_images(cfg):
            self.cache_targets.check_mosaics()
        # Not labels, but whether they are 'known' or 'hidden' when concepts are selected.
        self.labels = label_visibility(cfg.train_dataloader.dataset, self.cache_targets.reads_labels)
        dataset = DATASETS.build(unaugmented(cfg.train_dataloader.dataset))
        self._check_classes(cfg, dataset)
        self.name = getattr(dataset, 'data_root', None) or type(dataset).__name__
        self.dataset = TolerantDataset(dataset)
        index_of: dict[str, int] = {}
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            if 'img_path' not in info:
                raise UsageError('the data set has no img_path, and a cache identifies images by their paths')
            index_of.setdefault(info['img_path'], i)
        self.paths, self.indices = list(index_of), list(index_of.values())
        self.device = torch.device(get_device())

    def _check_classes(self, cfg: Config, dataset: Any) -> None:
        """Check that the concepts begin with the classes, as `lfi.ConceptCheckHook` does in training."""
        hooks = cfg.get('default_hooks') or {}
        is_disabled = 'concept_check' in hooks and hooks['concept_check'] is None
        if is_disabled or not self.cache_targets.reads_labels:
            return
        bank = self.cache_targets.teacher.bank
        with as_usage_error(ValueError):
            check_class_order(classes_of(dataset), bank.names, bank.num_concepts, 'teacher')

    def batches(self, rows_of_batches: list[list[int]], num_workers: int) -> Iterator[Batch]:
        """Yield a batch for each list of rows, loaded by `num_workers` processes.

        A row is the index of an image in `paths` and in the cache.
        """
        batches = [[self.indices[row] for row in rows] for rows in rows_of_batches]
        yield from DataLoader(
            self.dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=collate
        )

    def compute_maps(self, batch: dict) -> InteractionMaps:
        """Return the teacher's maps of a batch of unaugmented images."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in batch['inputs']]
        # Keep uint8: the teacher resizes and normalises the images, each at its own size.
        inputs = stack_batch(batch['inputs']).to(self.device, non_blocking=True)
        samples = [sample.to(self.device) for sample in batch['data_samples']]
        return self.cache_targets.compute(
            BatchView.raw(inputs, sizes, self.cache_targets.labels(samples, self.device))
        )


def split_rows(rows: Sequence[int], size: int) -> list[list[int]]:
    """Split rows into batches of `size`; the last one may be smaller."""
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]


def packed_maps(job: TeacherJob, batch: dict) -> np.ndarray:
    """Return the cache records of a batch of readable images.

    Raises:
        UsageError: if the teacher's maps cannot be stored, for example because a value is not finite.
    """
    try:
        return pack(job.compute_maps(batch))
    except ValueError as error:
        files = ', '.join(sample.img_path for sample in batch['data_samples'])
        raise UsageError(f'the maps of the teacher cannot be stored: {error}. The batch: {files}') from error


def first_maps(job: TeacherJob) -> InteractionMaps:
    """Return the maps of the first image that can be read.

    Raises:
        UnreadableImageError: if no image can be read.
    """
    batches = job.batches([[row] for row in range(len(job.paths))], 0)
    for batch in batches:
        if batch.positions:
            return job.compute_maps(batch.data)
    total = len(job.paths)
    raise none_readable_error(total, batch.unreadable[0], job.name)


class ImageReader:
    """Reader of images, which lists the unreadable ones.

    Args:
        job: teacher and images.
        num_workers: number of processes that load images.
        total: number of images.
        max_share: largest share of unreadable images, in [0, 1]; `max_unreadable` of the config.
        unreadable_list: file that lists unreadable images.
    """

    def __init__(
        self, job: TeacherJob, num_workers: int, total: int, max_share: float, unreadable_list: UnreadableList
    ) -> None:
        self.job, self.num_workers, self.total = job, num_workers, total
        self.max_share, self.unreadable_list = max_share, unreadable_list
        self.read_rows: set[int] = set()
        self.unreadable: dict[int, Unreadable] = {}

    def batches(self, rows_of_batches: list[list[int]]) -> Iterator[tuple[list[int], Batch]]:
        """Yield the rows and the images of each batch.

        Raises:
            UnreadableImageError: if more than `max_share` of the images cannot be read.
        """
        for rows, batch in zip(rows_of_batches, self.job.batches(rows_of_batches, self.num_workers)):
            self.read_rows.update(rows)
            for position, image in batch.unreadable.items():
                self.unreadable[rows[position]] = image
                is_new = self.unreadable_list.add(image)
                self._refuse_too_many()
                if is_new and len(self.unreadable_list) <= MAX_LOGGED:
                    tqdm.write(f'{image}; it gets no maps')
            yield rows, batch

    def _refuse_too_many(self) -> None:
        *others, latest = self.unreadable.values()
        # Images come folder by folder, so a share of the images read so far would mislead.
        counts = Counts(len(others) + 1, len(self.read_rows), self.total, denominator=self.total)
        names = [image.path for image in others]
        refuse_too_many(counts, self.max_share, latest, names, self.job.name)


def cache_teacher(cfg: Config, folder: str, batch_size: int = 64, num_workers: int = 2) -> InteractionCache:
    """Cache the teacher's maps of all training images, or complete a cache that was begun.

    All processes call it and share the work.

    Args:
        cfg: config of the training.
        folder: folder of the cache.
        batch_size: images in a batch. Defaults to 64.
        num_workers: processes that load images. Defaults to 2.

    Returns:
        The complete cache.

    Raises:
        UsageError: if the config has no teacher, or training with it could not read the maps.
        UnreadableImageError: if more than `max_unreadable` of the images cannot be read.
    """
    max_share = max_unreadable(cfg)
    check_training_reads_cache(cfg, folder)
    write(TeacherJob(cfg), Path(folder), batch_size, num_workers, max_share)
    return InteractionCache(folder)


def write(job: TeacherJob, folder: Path, batch_size: int, num_workers: int, max_share: float) -> None:
    """Write this process's share of the missing shards.

    Raises:
        UnreadableImageError: if more than `max_share` of the images cannot be read.
    """
    parts = name_parts(job.paths)
    keys = image_keys(job.paths, parts)
    # The manifest needs the shape of the maps.
    maps = first_maps(job)
    texts = job.cache_targets.teacher.text_embeddings.cpu().numpy()
    presence_kind = job.cache_targets.teacher.presence_kind
    manifest = CacheManifest.of(job.identity, keys, parts, texts, maps, job.labels, presence_kind)
    if dist.get_rank() == 0:
        writer = CacheWriter(folder, manifest, keys, texts)
        record_sizes(writer, job.paths)
        UnreadableList(folder).path.unlink(missing_ok=True)
    dist.barrier()
    if dist.get_rank() != 0:
        writer = CacheWriter(folder, manifest, keys, texts)

    process_shards = range(dist.get_rank(), manifest.num_shards, dist.get_world_size())
    total = sum(len(manifest.rows(shard)) for shard in process_shards)
    unreadable_list = UnreadableList(folder)
    reader = ImageReader(job, num_workers, total, max_share, unreadable_list)
    pending = shards_to_write(writer, process_shards, reader, batch_size)
    rows_by_shard = {shard: split_rows(manifest.rows(shard), batch_size) for shard in pending}
    batches = reader.batches(sum(rows_by_shard.values(), []))
    remaining = sum(len(manifest.rows(shard)) for shard in pending)
    with tqdm(
        total=total, initial=total - remaining, unit=' images', disable=dist.get_rank() != 0, smoothing=0.05
    ) as bar:
        for shard in pending:
            records = []
            for rows, batch in islice(batches, len(rows_by_shard[shard])):
                packed = missing_records(len(rows), manifest.dtype)
                if batch.positions:
                    packed[batch.positions] = packed_maps(job, batch.data)
                records.append(packed)
                bar.update(len(rows))
            writer.write(shard, np.concatenate(records))
    dist.barrier()
    if dist.get_rank() == 0 and unreadable_list:
        print(f'{len(unreadable_list):,} unreadable images have no maps: {unreadable_list.path} lists them')


def shards_to_write(writer: CacheWriter, shards: range, reader: ImageReader, batch_size: int) -> list[int]:
    """Return the missing shards, and those with an image that was unreadable and now is readable."""
    done = {shard for shard in shards if writer.is_done(shard)}
    unreadable_rows = [row for shard in sorted(done) for row in writer.unreadable_images(shard)]
    outdated = {
        rows[position] // writer.manifest.shard_size
        for rows, batch in reader.batches(split_rows(unreadable_rows, batch_size))
        for position in batch.positions
    }
    return [shard for shard in shards if shard not in done or shard in outdated]


def verify(job: TeacherJob, folder: Path, batch_size: int, num_workers: int, num_images: int) -> bool:
    """Check all shards against their checksums, and compare maps of some images with the teacher's.

    Returns:
        Whether the maps agree.

    Raises:
        CacheError: if the cache is of another teacher, or is missing or corrupted.
    """
    cache = open_cache(str(folder), job.identity)
    for shard in tqdm(range(cache.manifest.num_shards), unit=' shards'):
        cache.shard(shard)
    rows = np.random.default_rng(0).permutation(len(job.paths))[:num_images].tolist()
    num_compared, max_error, max_presence_error = 0, 0.0, 0.0
    batches = split_rows(rows, batch_size)
    for batch_rows, batch in zip(tqdm(batches, unit=' batches'), job.batches(batches, num_workers)):
        if not batch.positions:
            continue
        num_compared += len(batch.positions)
        maps = job.compute_maps(batch.data)
        records = cache.read([job.paths[batch_rows[i]] for i in batch.positions])
        cached = unpack(records, maps.layers, maps.directions, job.device)
        step = torch.from_numpy(records['step'].copy()).to(job.device)[..., None, None]
        # Unit: quantisation steps. Rounding alone causes up to half a step.
        error = (cached.logits - maps.logits).abs() / step.clamp_min(1e-6)
        if cached.concepts is not None and maps.concepts is not None:
            is_different = cached.concepts.ne(maps.concepts)[:, None, :, None, None]
            error = error.masked_fill(is_different, math.inf)
        max_error = max(max_error, error.nan_to_num(math.inf, posinf=math.inf).max().item())
        presence_error = (cached.presence - maps.presence).abs().nan_to_num(math.inf)
        max_presence_error = max(max_presence_error, presence_error.max().item())
    passed = max_error <= 1 and max_presence_error <= PRESENCE_TOLERANCE
    print(
        f'{cache.manifest.num_shards} shards match their checksums. {num_compared} images were compared with '
        f'the teacher: logits differ by at most {max_error:.2f} quantisation steps, presence by '
        f'{max_presence_error:.3f}: {"passed" if passed else "NOT the same maps"}'
    )
    return passed


def check_training_reads_cache(cfg: Config, folder: str) -> None:
    """Check, before a cache is written to a folder, that training with a config could read it.

    Raises:
        UsageError: if training could not read the maps.
    """
    if not cfg.model.get('teacher'):
        return
    training = deepcopy(cfg)
    training.model.teacher.cache = folder
    check_pipelines(training)
    check_few_labels(training)
    try:
        for step in map_loading_steps(training, folder):
            step.setdefault('cache', folder)
        check_unrecorded_steps(training)
    except UsageError as error:
        raise UsageError(
            f'training with this config could not read the maps: {error}. Instead of changing this '
            'config, you can write one with `lfi adapt`, and cache the maps of that one'
        ) from error
