"""A cache of what a teacher says about the training images of a config."""

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

from lfi.concepts.concept_check_hook import classes_of, compare
from lfi.datasets import unaugmented
from lfi.engine.cache_labels import label_visibility
from lfi.engine.few_labels_option import check_few_labels
from lfi.engine.pipelines import check_pipelines, check_recorded_steps, steps_that_read_maps
from lfi.errors import UsageError, as_usage_error
from lfi.models.students.teaching import Teaching
from lfi.models.teachers.cached_teacher import open_cache
from lfi.structures import BatchView, InteractionMaps, pack, unpack, without_maps
from lfi.structures.interaction_cache import (
    CacheManifest,
    CacheWriter,
    keep_sizes,
    keys_of,
    name_parts,
)
from lfi.unreadable import (
    NAMED,
    Counts,
    FoundList,
    Unreadable,
    UnreadableImageError,
    none_readable,
    refuse_too_many,
    refuse_unreadable,
)
from lfi.utils.config_types import model_config

# Half precision, and other kernels than those that wrote the cache.
PRESENCE_TOLERANCE = 0.01


class Batch(NamedTuple):
    """Some images, of which some may be unreadable.

    Args:
        data: what can be read, collated.
        places: of that in the batch.
        unreadable: what cannot, by its place.
    """

    data: dict
    places: list[int]
    unreadable: dict[int, Unreadable]


class OrUnreadable(Dataset):
    """The items of a data set, and an `Unreadable` for an image that cannot be read."""

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
    """A batch of items of `OrUnreadable`."""
    unreadable = {i: item for i, item in enumerate(items) if isinstance(item, Unreadable)}
    places = [i for i in range(len(items)) if i not in unreadable]
    return Batch(pseudo_collate([items[i] for i in places]) if places else {}, places, unreadable)


class TeacherJob:
    """A config's teacher and its training images, each once and as it is on disk."""

    def __init__(self, cfg: Config) -> None:
        if not cfg.model.get('teacher'):
            raise UsageError('the config has no model.teacher to ask')
        self.teaching = Teaching(model_config(cfg))
        self.identity = self.teaching.identity
        self.labels = label_visibility(cfg.train_dataloader.dataset, self.teaching.reads_labels)
        dataset = DATASETS.build(unaugmented(cfg.train_dataloader.dataset))
        self._check_classes(cfg, dataset)
        self.name = getattr(dataset, 'data_root', None) or type(dataset).__name__
        self.dataset = OrUnreadable(dataset)
        index_of: dict[str, int] = {}
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            if 'img_path' not in info:
                raise UsageError('the data set gives no img_path: its images cannot be told apart')
            index_of.setdefault(info['img_path'], i)
        self.paths, self.indices = list(index_of), list(index_of.values())
        self.device = torch.device(get_device())

    def _check_classes(self, cfg: Config, dataset: Any) -> None:
        """Check that concepts begin with the classes, as training does by `lfi.ConceptCheckHook`."""
        hooks = cfg.get('default_hooks') or {}
        is_left_out = 'concept_check' in hooks and hooks['concept_check'] is None
        if is_left_out or not self.teaching.reads_labels:
            return
        bank = self.teaching.teacher.bank
        with as_usage_error(ValueError):
            compare(classes_of(dataset), bank.names, bank.num_concepts, 'teacher')

    def batches(self, rows: list[list[int]], num_workers: int) -> Iterator[Batch]:
        """The images of the rows, batch by batch."""
        batches = [[self.indices[row] for row in batch] for batch in rows]
        yield from DataLoader(
            self.dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=collate
        )

    def ask(self, batch: dict) -> InteractionMaps:
        """The teacher's maps of a batch of unaugmented images."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in batch['inputs']]
        # A byte a value, as images are stored: the teacher makes each one small by itself.
        inputs = stack_batch(batch['inputs']).to(self.device, non_blocking=True)
        samples = [sample.to(self.device) for sample in batch['data_samples']]
        return self.teaching.to_cache(
            BatchView.raw(inputs, sizes, self.teaching.labels(samples, self.device))
        )


def split(rows: Sequence[int], size: int) -> list[list[int]]:
    """Rows in batches of `size`, the last one smaller."""
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]


def packed_maps(job: TeacherJob, batch: dict) -> np.ndarray:
    """The records of a batch of images that were read.

    Raises:
        UsageError: The teacher's maps cannot be kept, as where they are not finite.
    """
    try:
        return pack(job.ask(batch))
    except ValueError as error:
        files = ', '.join(sample.img_path for sample in batch['data_samples'])
        raise UsageError(f'the maps of the teacher cannot be kept: {error}. The batch: {files}') from error


def first_maps(job: TeacherJob) -> InteractionMaps:
    """The maps of the first image that can be read.

    Raises:
        UnreadableImageError: if there is none.
    """
    batches = job.batches([[row] for row in range(len(job.paths))], 0)
    for batch in batches:
        if batch.places:
            return job.ask(batch.data)
    total = len(job.paths)
    raise none_readable(total, batch.unreadable[0], job.name)


class Reading:
    """Reads images, and names those that cannot be read.

    Args:
        job: that has them.
        num_workers: processes that load them.
        total: how many there are.
        max_share: how many of these may be unreadable, as `max_unreadable` has it.
        found: lists the unreadable ones.
    """

    def __init__(
        self, job: TeacherJob, num_workers: int, total: int, max_share: float, found: FoundList
    ) -> None:
        self.job, self.num_workers, self.total = job, num_workers, total
        self.max_share, self.found = max_share, found
        self.seen: set[int] = set()
        self.unreadable: dict[int, Unreadable] = {}

    def batches(self, rows_of_batches: list[list[int]]) -> Iterator[tuple[list[int], Batch]]:
        """The rows of each batch, and what was read of it.

        Raises:
            UnreadableImageError: if too many cannot be read, as `refuse_too_many` says.
        """
        for rows, batch in zip(rows_of_batches, self.job.batches(rows_of_batches, self.num_workers)):
            self.seen.update(rows)
            for place, image in batch.unreadable.items():
                self.unreadable[rows[place]] = image
                is_new = self.found.add(image)
                self._refuse_too_many()
                if is_new and len(self.found) <= NAMED:
                    tqdm.write(f'{image}; it gets no maps')
            yield rows, batch

    def _refuse_too_many(self) -> None:
        *others, latest = self.unreadable.values()
        # They come folder by folder: a share of what was seen would say little.
        counts = Counts(len(others) + 1, len(self.seen), self.total, share_of=self.total)
        names = [image.path for image in others]
        refuse_too_many(counts, self.max_share, latest, names, self.job.name)


def write(job: TeacherJob, folder: Path, batch_size: int, num_workers: int, max_share: float) -> None:
    """Write this process's share of the shards that are still missing.

    Raises:
        UnreadableImageError: if too many images cannot be read.
    """
    parts = name_parts(job.paths)
    keys = keys_of(job.paths, parts)
    # The shape of the maps is seen on an image.
    maps = first_maps(job)
    texts = job.teaching.teacher.texts.cpu().numpy()
    own_presence = job.teaching.teacher.own_presence
    manifest = CacheManifest.of(job.identity, keys, parts, texts, maps, job.labels, own_presence)
    if dist.get_rank() == 0:
        writer = CacheWriter(folder, manifest, keys, texts)
        keep_sizes(writer, job.paths)
        FoundList(folder).path.unlink(missing_ok=True)
    dist.barrier()
    if dist.get_rank() != 0:
        writer = CacheWriter(folder, manifest, keys, texts)

    mine = range(dist.get_rank(), manifest.num_shards, dist.get_world_size())
    total = sum(len(manifest.rows(shard)) for shard in mine)
    found = FoundList(folder)
    reading = Reading(job, num_workers, total, max_share, found)
    missing = missing_shards(writer, mine, reading, batch_size)
    rows_of = {shard: split(manifest.rows(shard), batch_size) for shard in missing}
    batches = reading.batches(sum(rows_of.values(), []))
    to_do = sum(len(manifest.rows(shard)) for shard in missing)
    with tqdm(
        total=total, initial=total - to_do, unit=' images', disable=dist.get_rank() != 0, smoothing=0.05
    ) as bar:
        for shard in missing:
            records = []
            for rows, batch in islice(batches, len(rows_of[shard])):
                packed = without_maps(len(rows), manifest.dtype)
                if batch.places:
                    packed[batch.places] = packed_maps(job, batch.data)
                records.append(packed)
                bar.update(len(rows))
            writer.write(shard, np.concatenate(records))
    dist.barrier()
    if dist.get_rank() == 0 and found:
        print(f'{len(found):,} unreadable images have no maps: {found.path} lists them')


def missing_shards(writer: CacheWriter, mine: range, reading: Reading, batch_size: int) -> list[int]:
    """The shards to write: those that are not there, and those of an image that can be read by now."""
    done = {shard for shard in mine if writer.is_done(shard)}
    holes = [row for shard in sorted(done) for row in writer.unread(shard)]
    mended = {
        rows[place] // writer.manifest.shard_size
        for rows, batch in reading.batches(split(holes, batch_size))
        for place in batch.places
    }
    return [shard for shard in mine if shard not in done or shard in mended]


def verify(job: TeacherJob, folder: Path, batch_size: int, num_workers: int, n: int) -> bool:
    """Read all shards again, and compare the maps of n images with the teacher's; whether all is well.

    Raises:
        CacheError: as `open_cache` and `InteractionCache.read` say.
    """
    cache = open_cache(str(folder), job.identity)
    for shard in tqdm(range(cache.manifest.num_shards), unit=' shards'):
        cache.shard(shard)
    rows = np.random.default_rng(0).permutation(len(job.paths))[:n].tolist()
    asked, worst, worst_presence = 0, 0.0, 0.0
    batches = split(rows, batch_size)
    for rows_of_batch, batch in zip(tqdm(batches, unit=' batches'), job.batches(batches, num_workers)):
        if not batch.places:
            continue
        asked += len(batch.places)
        maps = job.ask(batch.data)
        records = cache.read([job.paths[rows_of_batch[i]] for i in batch.places])
        kept = unpack(records, maps.layers, maps.directions, job.device)
        step = torch.from_numpy(records['step'].copy()).to(job.device)[..., None, None]
        # In steps of the kept map; half a step is the rounding's own.
        off = (kept.logits - maps.logits).abs() / step.clamp_min(1e-6)
        if kept.concepts is not None and maps.concepts is not None:
            others = kept.concepts.ne(maps.concepts)[:, None, :, None, None]
            off = off.masked_fill(others, math.inf)
        worst = max(worst, off.nan_to_num(math.inf, posinf=math.inf).max().item())
        presence = (kept.presence - maps.presence).abs().nan_to_num(math.inf)
        worst_presence = max(worst_presence, presence.max().item())
    good = worst <= 1 and worst_presence <= PRESENCE_TOLERANCE
    print(
        f'{cache.manifest.num_shards} shards match their checksums; of {asked} images asked about again '
        f'logits are off by at most {worst:.2f} quantisation steps, and presence by {worst_presence:.3f}: '
        f'{"fine" if good else "NOT the same maps"}'
    )
    return good


def check_readers(cfg: Config, folder: str) -> None:
    """Check, before the teacher is asked, that the config's own training can read the maps from a folder.

    Raises:
        UsageError: if it cannot.
    """
    if not cfg.model.get('teacher'):
        return
    training = deepcopy(cfg)
    training.model.teacher.cache = folder
    check_pipelines(training)
    check_few_labels(training)
    try:
        for step in steps_that_read_maps(training, folder):
            step.setdefault('cache', folder)
        check_recorded_steps(training)
    except UsageError as error:
        raise UsageError(
            f'training by this config cannot read the maps: {error}. Or let `lfi adapt` write the '
            'config, and cache by that one'
        ) from error
