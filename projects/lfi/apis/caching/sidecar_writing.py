"""Writing of the sidecars of tar shards."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from lfi.datasets.tar_shards import TarSample, WebDataset, read_samples
from lfi.datasets.tar_shards.samples import shard_name
from lfi.datasets.tar_shards.unreadable_samples import UnreadableSamples
from lfi.datasets.transforms.view_draws import requesting_seed, view_seed
from lfi.errors import UsageError
from lfi.structures import InteractionMaps
from lfi.structures.interaction_cache import NUM_COMPLETE, CacheWriter, member_key, sidecar_name, starts_shard
from lfi.structures.interaction_cache.sidecars import NAME_PARTS
from lfi.unreadable import Unreadable, UnreadableImageError, UnreadableList, none_readable_error
from lfi.utils.stores import (
    Entry,
    is_address,
    join,
    list_files,
    local_copies,
    read_start,
    remove_file,
    write_file,
)

from .job import AskedTeacher, Batch, collate, mirrored
from .shard_records import ShardRecords

FAILED = '.failed.json'
"""End of the name of a file that says why a tar file has no sidecar."""
HEADER_BYTES, REQUESTS = 2**14, 16
"""First bytes of a sidecar that are read, and requests to a store at once."""


class TarItem(NamedTuple):
    """One view of an image in a tar file.

    Args:
        position: position of the image in the tar.
        view: index of the view.
        key: key of the image, see `member_key`.
        item: packed item, or an `Unreadable`.
    """

    position: int
    view: int
    key: int
    item: Any


class TarItems(IterableDataset):
    """Views of the images in a tar file. Of n workers, each yields every n-th batch.

    Args:
        job: teacher and data sets.
        tar: path or address of the tar file.
        batch_size: views in a batch.
    """

    def __init__(self, job: TarJob, tar: str, batch_size: int) -> None:
        self.job, self.tar = job, tar
        # The maps of an image differ in rounding between batches of other images.
        self.images_in_batch = max(1, batch_size // job.views)

    def __iter__(self) -> Iterator[TarItem]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for position, sample in enumerate(read_samples(self.tar)):
            if position // self.images_in_batch % step != first:
                continue
            key = member_key(sample.path, self.tar, sample.image)
            for view in range(self.job.views):
                yield TarItem(position, view, key, self.job.load(sample, view))


class TarJob(AskedTeacher):
    """Teacher of a config, and its training images in tar shards, complete or in several views.

    Args:
        cfg: config of the training, on a `lfi.WebDataset`.
        views: views of each image. Defaults to 1: the complete image.

    Raises:
        UsageError: see `AskedTeacher`.
    """

    complete: WebDataset
    drawn: WebDataset | None

    def __init__(self, cfg: Config, views: int = 1) -> None:
        super().__init__(cfg, views)
        self.tars = self.complete.urls

    def load(self, sample: TarSample, view: int) -> Any:
        """Return the packed item of a view of a sample, or an `Unreadable`.

        Raises:
            UsageError: if a step shows nothing of the image in a drawn view.
        """
        if view < NUM_COMPLETE:
            item = self.complete.load(sample)
            if item is None:
                return Unreadable(sample.path, 'a step of its pipeline returns None')
            return mirrored(item) if view and not isinstance(item, Unreadable) else item
        assert self.drawn is not None
        with requesting_seed(view_seed(sample.path, NAME_PARTS, view)):
            item = self.drawn.load(sample)
        if item is None and isinstance(complete := self.load(sample, 0), Unreadable):
            # A loading step drops it.
            return complete
        if item is None:
            raise UsageError(
                f'{sample.path}: a step in lfi.RecordView shows nothing of it in view {view}, and drops the '
                f'image: use at most --views {NUM_COMPLETE}'
            )
        return item

    def batches(self, tar: str, batch_size: int, num_workers: int) -> Iterable[tuple[list[TarItem], Batch]]:
        """Return the items of a tar file and their images, by batches, loaded by `num_workers` processes."""
        items = TarItems(self, tar, batch_size)
        return DataLoader(items, batch_size, num_workers=num_workers, collate_fn=_collate)

    def first_maps(self) -> InteractionMaps:
        """Return the maps of the first image that can be read.

        Raises:
            UnreadableImageError: if no image can be read.
            UsageError: if no tar file has an image.
        """
        total, latest, failure = 0, None, None
        for tar in self.tars:
            try:
                for sample in read_samples(tar):
                    item = self.load(sample, 0)
                    if not isinstance(item, Unreadable):
                        return self.compute_maps(collate([item]).data)
                    total, latest = total + 1, item
            except UsageError as error:
                # Its writer notes it.
                failure = failure or error
        if failure is not None:
            raise failure
        if latest is None:
            raise UsageError(f'urls={self.tars[0]!r}, …: the tar files have no image')
        raise none_readable_error(total, latest, self.tars[0])


class Share(NamedTuple):
    """Share of the tar files that a process writes: every `world`-th one from `rank` on.

    Args:
        rank: index of the process.
        world: number of processes.
    """

    rank: int
    world: int

    def of(self, tars: Sequence[str]) -> Sequence[str]:
        """Return the tar files of the share."""
        return tars[self.rank :: self.world]


def write_sidecars(
    job: TarJob, writer: CacheWriter, batch_size: int, num_workers: int, max_share: float, share: Share
) -> str | None:
    """Write a share of the missing sidecars.

    A tar file that fails is noted in the cache, and the others are written.

    Args:
        job: teacher and tar shards.
        writer: writer of the cache.
        batch_size: views in a batch.
        num_workers: processes that load images.
        max_share: largest share of unreadable images.
        share: share of this process.

    Returns:
        What failed; None if nothing did.

    Raises:
        UnreadableImageError: if more than `max_share` of the images cannot be read.
    """
    tars = share.of(job.tars)
    pending = pending_tars(writer, tars)
    unreadable = UnreadableSamples(max_share, unreadable_list(writer.folder), 'it gets no maps')
    failures = []
    with tqdm(
        total=len(tars), initial=len(tars) - len(pending), unit=' shards', disable=share.rank != 0
    ) as bar:
        for tar in pending:
            try:
                write_sidecar(job, writer, tar, batch_size, num_workers, unreadable)
            except UnreadableImageError:
                raise
            except UsageError as error:
                failures.append(str(error))
                note_failure(writer.folder, tar, str(error))
            bar.update()
    return failure_message(failures)


def failure_message(failures: Sequence[str]) -> str | None:
    """Return the first reason why tar files failed, and how many did; None without any."""
    if not failures:
        return None
    more = f', and {len(failures) - 1} more tar files' if len(failures) > 1 else ''
    return f'{failures[0]}{more}: run the command again when they are mended'


def pending_tars(writer: CacheWriter, tars: Sequence[str]) -> list[str]:
    """Return the tar files without a sidecar of this cache, and those with an image that could not be read.

    In a store, only the headers of the sidecars are read: an object is written as a whole.
    """
    # Images that could not be read may be readable now.
    if is_address(writer.folder):
        files = list_files(writer.folder)
        with ThreadPoolExecutor(REQUESTS) as pool:
            found = [files.get(sidecar_name(tar)) for tar in tars]
            done = pool.map(partial(_is_done, writer), found)
            return [tar for tar, is_done in zip(tars, done) if not is_done]
    opened = {tar: writer.opened(sidecar_name(tar)) for tar in tars}
    return [tar for tar, sidecar in opened.items() if sidecar is None or sidecar.unreadable]


def _is_done(writer: CacheWriter, sidecar: Entry | None) -> bool:
    if sidecar is None or not sidecar.size:
        return False
    count, address = HEADER_BYTES, join(writer.folder, sidecar.name)
    with suppress(FileNotFoundError):
        while True:
            content = read_start(address, min(count, sidecar.size))
            is_done = starts_shard(content, sidecar.size, writer.manifest)
            if is_done is not None or len(content) < count:
                return bool(is_done)
            count *= 16
    return False


def unreadable_list(folder: str) -> UnreadableList:
    """Return the list of unreadable images of a cache, on this machine for a cache in a store."""
    if not is_address(folder):
        return UnreadableList(folder)
    digest = blake2b(folder.encode(), digest_size=8).hexdigest()
    return UnreadableList(local_copies().folder.parent / f'unreadable-{digest}')


def note_failure(folder: str, tar: str, reason: str) -> None:
    """Write a file into a cache that says why a tar file has no sidecar."""
    content = dict(tar=tar, reason=reason, host=socket.gethostname(), time=time.time())
    write_file(join(folder, f'{sidecar_name(tar)}{FAILED}'), json.dumps(content).encode())


def write_sidecar(
    job: TarJob,
    writer: CacheWriter,
    tar: str,
    batch_size: int,
    num_workers: int,
    unreadable: UnreadableSamples,
) -> None:
    """Ask the teacher about the images of a tar file, and write its sidecar; see `write_sidecars`."""
    records = ShardRecords(job, writer.manifest.packed_dtype)
    keys: dict[int, int] = {}
    for items, batch in job.batches(tar, batch_size, num_workers):
        keys |= {item.position: item.key for item in items}
        for index, item in enumerate(items):
            if item.view == 0:
                unreadable.without(batch.unreadable.get(index), shard_name(tar))
        if batch.positions:
            read = [items[index] for index in batch.positions]
            records.add([item.position * job.views + item.view for item in read], batch.data)
    if not keys:
        raise UsageError(f'{tar} has no image: remove it from urls')
    in_order = np.array([keys[position] for position in range(len(keys))], np.uint64)
    # The keys bind the records to the contents of the images.
    writer.write(sidecar_name(tar), in_order, records.build(len(keys)))
    remove_file(join(writer.folder, f'{sidecar_name(tar)}{FAILED}'))


def _collate(items: Sequence[TarItem]) -> tuple[list[TarItem], Batch]:
    # The images are in the batch alone.
    return [item._replace(item=None) for item in items], collate([item.item for item in items])
