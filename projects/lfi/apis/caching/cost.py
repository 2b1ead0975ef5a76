"""Cost of a cache before it is written: bytes, and the teacher's time at the rate of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain, cycle, repeat
from typing import NamedTuple

from mmengine.config import Config

from lfi.engine.labelled_views import MORE_VIEWS, labelled_paths
from lfi.engine.streams import is_stream
from lfi.errors import UsageError
from lfi.structures import pack, packed_dtype
from lfi.structures.interaction_cache import NUM_COMPLETE
from lfi.structures.interaction_cache.records import record_dtype

from .job import AskedTeacher, Batch, TeacherJob
from .reading import first_maps, split
from .sidecar_writing import TarJob
from .writing import check_training_reads_cache


class CacheCost(NamedTuple):
    """Cost of a cache.

    Args:
        num_images: number of images.
        views: number of views of each image.
        labelled: number of labelled images of which there are more views.
        batch_size: views in a batch.
        view_bytes: bytes of a view's record, and of its share of keys and index.
        view_seconds: seconds of this process for a view: loading, the teacher's pass and packing.
    """

    num_images: int
    views: int
    labelled: int
    batch_size: int
    view_bytes: float
    view_seconds: float

    @property
    def num_views(self) -> int:
        """Number of views of all images."""
        return (self.num_images + MORE_VIEWS * self.labelled) * self.views

    @property
    def total_bytes(self) -> float:
        """Size of the cache in bytes."""
        return self.num_views * self.view_bytes

    @property
    def seconds(self) -> float:
        """Seconds of one process."""
        return self.num_views * self.view_seconds

    def __str__(self) -> str:
        each = 'once' if self.views == 1 else f'in {self.views} views'
        more = (
            f', and {self.labelled:,} labelled ones in {MORE_VIEWS * self.views} more'
            if self.labelled
            else ''
        )
        calls = -(-self.num_views // self.batch_size)
        return (
            f'{self.num_images:,} images, each {each}{more}: {self.num_views:,} views\n'
            f'size: {self.total_bytes / 1e6:,.2f} MB, {self.view_bytes / 1e3:.2f} kB a view\n'
            f'time: {timedelta(seconds=round(self.seconds))} in one process, at '
            f'{1 / self.view_seconds:,.1f} views/s here\n'
            f'calls of the teacher: {calls:,} batches of {self.batch_size}'
        )


SECONDS = 10.0
"""Seconds of the measurement, after a first batch."""
# A key in the shard, and a key and a row in the index.
INDEX_BYTES = 24


def cache_cost(
    cfg: Config, batch_size: int = 64, num_workers: int = 2, views: int = 1, num_images: int | None = None
) -> CacheCost:
    """Measure the rate of a config's teacher for ten seconds, and return the cost of its cache.

    Args:
        cfg: config of the training.
        batch_size: views in a batch. Defaults to 64.
        num_workers: processes that load images. Defaults to 2.
        views: views of each image. Defaults to 1: the complete image.
        num_images: number of images of the cache. Defaults to None: those of the config.

    Raises:
        UsageError: if the config has no teacher, or training with it could not read the maps; or for tar
            shards, if `num_images` is None.
        UnreadableImageError: if no image can be read.
    """
    check_training_reads_cache(cfg, 'cache', views)
    job: AskedTeacher
    if is_stream(cfg):
        if num_images is None:
            raise UsageError(
                '--cost: a stream does not know how many images it has: give their number, --cost N'
            )
        job = tars = TarJob(cfg, views)
        maps, batches = tars.first_maps(), _tar_batches(tars, batch_size, num_workers)
        total, labelled = num_images, 0
    else:
        job = images = TeacherJob(cfg, views)
        # Raises an error if no image can be read.
        maps = first_maps(images)
        items = split(images.items(range(len(images.paths))), batch_size)
        # A small data set is read several times.
        batches = images.batches(chain.from_iterable(repeat(items)), num_workers)
        total = num_images or len(images.paths)
        labelled = len(labelled_paths(cfg)) if views > NUM_COMPLETE else 0
    view_bytes = record_dtype(packed_dtype(maps), views > 1).itemsize + INDEX_BYTES / views
    return CacheCost(total, views, labelled, batch_size, view_bytes, _view_seconds(job, batches))


def _tar_batches(job: TarJob, batch_size: int, num_workers: int) -> Iterator[Batch]:
    """Yield batches of the tar files' images, over and over."""
    for tar in cycle(job.tars):
        for _, batch in job.batches(tar, batch_size, num_workers):
            yield batch


def _view_seconds(job: AskedTeacher, batches: Iterable[Batch]) -> float:
    """Measure the seconds for a view: loading, the teacher's pass and packing."""
    start, num_views, elapsed = None, 0, 0.0
    for batch in batches:
        if batch.positions:
            pack(job.compute_maps(batch.data))
        if start is None:
            # Workers have started, and kernels are chosen.
            start = time.perf_counter()
            continue
        num_views += len(batch.positions)
        elapsed = time.perf_counter() - start
        if elapsed >= SECONDS and num_views:
            break
    return elapsed / num_views
