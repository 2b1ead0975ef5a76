"""Writing of a cache of a teacher's maps of the training images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import islice
from pathlib import Path

import numpy as np
from mmengine import dist
from mmengine.config import Config
from tqdm import tqdm

from lfi.engine.cached_pipelines import (
    check_drawn_views,
    check_view_steps,
    loading_options,
    map_loading_steps,
)
from lfi.engine.few_labels_option import check_few_labels
from lfi.engine.labelled_views import MORE_VIEWS, labelled_folder, labelled_paths
from lfi.engine.pipelines import check_pipelines, check_unrecorded_steps
from lfi.engine.processes import patient_group
from lfi.engine.streams import is_stream
from lfi.engine.watch_images import max_unreadable
from lfi.errors import UsageError
from lfi.structures import InteractionMaps
from lfi.structures.interaction_cache import (
    NUM_COMPLETE,
    CacheFolder,
    CacheManifest,
    CacheWriter,
    InteractionCache,
    Shard,
    image_keys,
    shard_name,
)
from lfi.structures.interaction_cache.sidecars import NAME_PARTS
from lfi.unreadable import UnreadableList
from lfi.utils.stores import is_address, list_files

from .job import AskedTeacher, Batch, TeacherJob
from .reading import ImageReader, first_maps, split
from .shard_records import ShardRecords
from .sidecar_writing import Share, TarJob, unreadable_list, write_sidecars

MANIFEST_WAIT = 600.0
"""Seconds for which a process waits for the manifest of the first one."""
Item = tuple[Sequence[int], Batch]
"""Items and images of a batch."""


def cache_teacher(
    cfg: Config,
    folder: str,
    batch_size: int = 64,
    num_workers: int = 2,
    views: int = 1,
    share: Share | None = None,
) -> CacheFolder:
    """Cache the teacher's maps of all training images, or complete a cache that was begun.

    All processes call it and share the work.

    Args:
        cfg: config of the training.
        folder: folder of the cache; for tar shards also an address in a store.
        batch_size: images in a batch. Defaults to 64.
        num_workers: processes that load images. Defaults to 2.
        views: views of each image that the teacher is asked about. Defaults to 1: the complete image.
        share: tar shards of this process, if the processes do not know each other. Defaults to None: those of
            its rank among distributed processes.

    Returns:
        The complete cache: an `InteractionCache`, or a `CacheFolder` with a sidecar for each tar shard.

    Raises:
        UsageError: if the config has no teacher, or training with it could not read the maps.
        UnreadableImageError: if more than `max_unreadable` of the images cannot be read.
    """
    max_share = max_unreadable(cfg)
    check_training_reads_cache(cfg, folder, views)
    if is_stream(cfg):
        tars = TarJob(cfg, views)
        writer = open_writer(tars, folder, 0, NAME_PARTS, tars.first_maps(), share)
        own = share or Share(dist.get_rank(), dist.get_world_size())
        others = patient_group()
        failure = write_sidecars(tars, writer, batch_size, num_workers, max_share, own)
        # A launcher ends all processes when one fails.
        dist.barrier(others)
        if failure is not None:
            raise UsageError(failure)
        return CacheFolder(folder)
    if share is not None or is_address(folder):
        raise UsageError(
            f'--out {folder}: a store and --rank need images in tar shards (lfi.WebDataset), each of which '
            'has a file of its own: write into a local folder, or write the images as tar shards'
        )
    job = TeacherJob(cfg, views)
    write(job, Path(folder), batch_size, num_workers, max_share)
    labelled = labelled_paths(cfg) if views > NUM_COMPLETE else set()
    if labelled:
        name_parts, views = job.name_parts, MORE_VIEWS * views
        # It holds a teacher, too.
        del job
        if dist.get_rank() == 0:
            print(
                f'{len(labelled):,} images are labelled, and training repeats them most: {views} views each'
            )
        inner = labelled_folder(folder, labelled, name_parts)
        write(TeacherJob(cfg, views, name_parts, labelled), inner, batch_size, num_workers, max_share)
    return InteractionCache(folder)


def write(job: TeacherJob, folder: Path, batch_size: int, num_workers: int, max_share: float) -> None:
    """Write this process's share of the missing shards; the first process then writes the index.

    Raises:
        UnreadableImageError: if more than `max_share` of the images cannot be read.
    """
    maps = first_maps(job)
    writer = open_writer(job, folder, len(job.paths), job.name_parts, maps)
    manifest = writer.manifest
    shards = range(dist.get_rank(), manifest.num_shards, dist.get_world_size())
    num_images = sum(len(manifest.rows(shard)) for shard in shards)
    total = job.views * num_images
    unreadable_list = UnreadableList(folder)
    others = patient_group()
    reader = ImageReader(job, num_workers, num_images, max_share, unreadable_list)
    pending = shards_to_write(job, writer, shards, reader, batch_size)
    items = {shard: split(job.items(manifest.rows(shard)), batch_size) for shard in pending}
    batches = reader.batches([batch for shard in pending for batch in items[shard]])
    num_pending = sum(len(batch) for shard in pending for batch in items[shard])
    with tqdm(
        total=total,
        initial=total - num_pending,
        unit=' images' if job.views == 1 else ' views',
        disable=dist.get_rank() != 0,
        smoothing=0.05,
    ) as bar:
        for shard in pending:
            write_shard(job, writer, shard, _updating(bar, islice(batches, len(items[shard]))))
    dist.barrier(others)
    if dist.get_rank() == 0:
        writer.finish()
        if unreadable_list:
            print(
                f'{len(unreadable_list):,} unreadable images have no maps: {unreadable_list.path} lists them'
            )
    dist.barrier()


def open_writer(
    job: AskedTeacher,
    folder: str | Path,
    num_images: int,
    name_parts: int,
    maps: InteractionMaps,
    share: Share | None = None,
) -> CacheWriter:
    """Open the writer of a job's cache, in the first process before the others.

    Args:
        job: teacher to ask.
        folder: folder of the cache.
        num_images: number of images; 0 for tar shards.
        name_parts: number of last path parts that identify an image.
        maps: maps of any image, for their shape.
        share: share of a process that does not know the others; those after the first wait for the manifest.
            Defaults to None: the processes are distributed.
    """
    teacher = job.cache_targets.teacher
    texts = teacher.text_embeddings.cpu().numpy()
    manifest = CacheManifest.of(
        job.identity,
        num_images,
        name_parts,
        texts,
        maps,
        teacher.presence_kind,
        job.views,
        job.recipe,
        job.loading,
    )
    if share is not None and share.rank > 0:
        wait_for_manifest(str(folder))
        return CacheWriter(folder, manifest, texts)
    if dist.get_rank() == 0:
        writer = CacheWriter(folder, manifest, texts)
        unreadable_list(str(folder)).path.unlink(missing_ok=True)
    dist.barrier()
    if dist.get_rank() != 0:
        writer = CacheWriter(folder, manifest, texts)
    return writer


def wait_for_manifest(folder: str) -> None:
    """Wait until the first process has written the manifest, so that all have one.

    Raises:
        UsageError: if it does not come for ten minutes.
    """
    end = time.monotonic() + MANIFEST_WAIT
    while 'manifest.json' not in list_files(folder):
        if time.monotonic() > end:
            raise UsageError(
                f'{folder} has had no manifest for {MANIFEST_WAIT / 60:.0f} minutes: the process of --rank 0 '
                'writes it, so start that one first'
            )
        time.sleep(1)


def shards_to_write(
    job: TeacherJob, writer: CacheWriter, shards: range, reader: ImageReader, batch_size: int
) -> list[int]:
    """Return the missing shards, and those with an image that was unreadable and now is readable.

    Raises:
        CacheError: if a shard holds other images.
    """
    done, unreadable = set(), []
    for shard in shards:
        # Keys of images without maps are computed when their shard is written.
        opened = _opened(job, writer, shard)
        if opened is not None:
            done.add(shard)
            unreadable += [writer.manifest.rows(shard)[position] for position in opened.unreadable]
    items = [item for row in unreadable for item in job.items(range(row, row + 1))[:1]]
    outdated = {
        batch_items[position] // job.views // writer.manifest.shard_size
        for batch_items, batch in reader.batches(split(items, batch_size))
        for position in batch.positions
    }
    return [shard for shard in shards if shard not in done or shard in outdated]


def _opened(job: TeacherJob, writer: CacheWriter, shard: int) -> Shard | None:
    """Open a shard that has been written; None if it is missing or damaged."""
    name = shard_name(shard)
    return writer.opened(name, keys_of(job, writer, shard)) if writer.has_file(name) else None


def keys_of(job: TeacherJob, writer: CacheWriter, shard: int) -> np.ndarray:
    """Return the keys (n,) uint64 of a shard's images."""
    paths = [job.paths[row] for row in writer.manifest.rows(shard)]
    return image_keys(paths, writer.manifest.name_parts)


def write_shard(job: TeacherJob, writer: CacheWriter, shard: int, batches: Iterable[Item]) -> None:
    """Compute and write the records of a shard.

    Args:
        job: teacher and images.
        writer: writer of the cache.
        shard: index of the shard.
        batches: items and images of each batch of the shard.
    """
    rows = writer.manifest.rows(shard)
    records = ShardRecords(job, writer.manifest.packed_dtype)
    first = job.items(rows).start
    for items, batch in batches:
        if batch.positions:
            records.add([items[position] - first for position in batch.positions], batch.data)
    writer.write(shard_name(shard), keys_of(job, writer, shard), records.build(len(rows)))


def _updating(bar: tqdm, batches: Iterable[Item]) -> Iterator[tuple[Sequence[int], Batch]]:
    """Iterate over batches and update a progress bar after each."""
    for items, batch in batches:
        yield items, batch
        bar.update(len(items))


def check_training_reads_cache(cfg: Config, folder: str, views: int = 1) -> None:
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
        check_view_steps(training)
        loading_options(training)
        if views > NUM_COMPLETE:
            check_drawn_views(training)
    except UsageError as error:
        raise UsageError(
            f'training with this config could not read the maps: {error}. Instead of changing this '
            'config, you can write one with `lfi adapt`, and cache the maps of that one'
        ) from error
