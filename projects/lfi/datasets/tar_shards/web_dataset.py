"""`WebDataset`: a stream of the images in tar shards."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from glob import glob
from itertools import count
from random import Random
from typing import Any

from mmengine.dataset import Compose
from mmengine.dist import broadcast_object_list, get_dist_info
from torch.utils.data import IterableDataset, get_worker_info

from lfi.datasets.labelled_images import mark_unlabelled
from lfi.datasets.transforms import LoadInteractionMaps
from lfi.datasets.transforms.loading import RECORDS
from lfi.errors import UsageError
from lfi.registry import DATASETS
from lfi.structures.interaction_cache import CacheFolder, Sidecar, SidecarImage, sidecar_name
from lfi.structures.labels import UNLABELLED
from lfi.unreadable import Unreadable, UnreadableList, find_cause_of_failure, find_undecodable_image
from lfi.utils.stores import exists, is_address, match_objects, read_ahead, refuse_secret

from .annotations import sample_info
from .samples import TarSample, import_webdataset, opened, read_samples, shard_name
from .unreadable_samples import UnreadableSamples


@DATASETS.register_module()
class WebDataset(IterableDataset):
    """Endless stream of the images in tar shards, for `IterBasedTrainLoop`.

    Each pass takes the shards in a new order. Ranks and workers share them, so that there must be a shard for
    each worker of each rank, unless they are drawn with replacement (`resampled`). A sample has a member with
    the suffix of an image, and members of the same name for its labels (see `sample_info`). With a cache, the
    maps of a shard are read from its sidecar, in the order of the tar.

    Args:
        urls: paths of the tar files, or addresses in a store (`s3://bucket/train-000.tar`), with braces
            (`train-{000..099}.tar`) or wildcards; or a list of them.
        pipeline: transforms, as for a data set of files. A type without a scope is that of the default scope.
        metainfo: `classes`, names of the classes. Defaults to None.
        category_ids: COCO's id of each class, for samples with objects. Defaults to None: no objects.
        shuffle: images in the buffer of a worker that are shuffled; 0 keeps the order of shards and images.
            Defaults to 1000.
        resampled: whether each worker draws shards from all, with replacement. Defaults to False.
        seed: seed of the order; by `tools/train.py` that of the run. Defaults to 0.
        needs_labels: whether a sample without labels is refused, as `tools/train.py` sets it for models that
            are no `lfi.Student`. Defaults to False.

    Raises:
        UsageError: if webdataset is not installed, there is no such file, two shards have one name, or there
            is not one of `category_ids` for each class.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        category_ids: Sequence[int] | None = None,
        shuffle: int = 1000,
        resampled: bool = False,
        seed: int = 0,
        needs_labels: bool = False,
    ) -> None:
        import_webdataset()
        self.urls = agreed_urls(urls)
        self.pipeline = Compose(pipeline)
        self.metainfo = dict(metainfo or {})
        self.category_ids, self.shuffle, self.resampled = category_ids, shuffle, resampled
        self.needs_labels = needs_labels
        self._check_category_ids()
        self.seed, self.resumed_at = seed, 0
        steps = self.pipeline.transforms
        self.cache = next((step.cache for step in steps if isinstance(step, LoadInteractionMaps)), None)
        # The distributed processes are set up before the data sets, and spawned workers do not know them.
        self.rank, self.world_size = get_dist_info()
        self._unreadable: UnreadableSamples | None = None

    def _check_category_ids(self) -> None:
        ids, classes = self.category_ids, self.metainfo.get('classes')
        if ids is None:
            return
        if len(set(ids)) < len(ids) or (classes is not None and len(ids) != len(classes)):
            raise UsageError(
                f'category_ids={list(ids)} must be different ids, one for each of the {len(classes or ids)} '
                'classes'
            )

    def __len__(self) -> int:
        """Return the largest length: MMEngine's hooks compare steps with it, and a stream has no end."""
        return sys.maxsize

    def __repr__(self) -> str:
        """Return the number of shards and the first one."""
        more = ', …' if len(self.urls) > 1 else ''
        return f'{len(self.urls):,} tar shards: {self.urls[0]}{more}'

    @property
    def CLASSES(self) -> Sequence[str] | None:  # noqa: N802
        """Names of the classes, which mmpretrain compares with the head; None without names."""
        return self.metainfo.get('classes')

    def watch_unreadable(self, max_share: float, unreadable: UnreadableList) -> None:
        """Leave unreadable images out, and count them, before workers start.

        Args:
            max_share: largest share of unreadable images, for `refuse_too_many`.
            unreadable: list that unreadable images are added to.
        """
        self._unreadable = UnreadableSamples(max_share, unreadable, 'left out')

    def resume(self, iteration: int) -> None:
        """Begin the stream in another order, before workers start, after a training that was stopped."""
        self.resumed_at = iteration

    def __iter__(self) -> Iterator[Any]:
        """Yield the packed samples of this worker, without end.

        Raises:
            UsageError: if there is no shard for this worker, or a shard or its sidecar cannot be read.
            UnreadableImageError: if too many images cannot be read.
        """
        worker = get_worker_info()
        index, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        place, places = self.rank * workers + index, self.world_size * workers
        check_shards(len(self.urls), places, self.resampled)
        order = Random(f'{self.seed}-{self.resumed_at}-{place if self.resampled else ""}')
        buffer = Random(f'{self.seed}-{self.resumed_at}-{place}')
        for _ in count():
            samples = self._samples(self._shards_of_pass(order, place, places))
            if self.shuffle:
                filters = import_webdataset().filters
                samples = filters._shuffle(samples, self.shuffle, self.shuffle, buffer)
            is_empty = True
            for sample, records in samples:
                if (item := self.read(sample, records)) is not None:
                    is_empty = False
                    yield item
            if is_empty:
                raise UsageError(
                    f'urls={self.urls[0]!r}, …: the tar files of a worker have no readable image'
                )

    def _shards_of_pass(self, order: Random, place: int, places: int) -> list[str]:
        if self.resampled:
            return order.choices(self.urls, k=len(self.urls))
        urls = order.sample(self.urls, len(self.urls)) if self.shuffle else self.urls
        return urls[place::places]

    def _samples(self, urls: Sequence[str]) -> Iterator[tuple[TarSample, SidecarImage | None]]:
        """Yield the samples of shards, each with its cached records or None."""
        cache = None if self.cache is None else CacheFolder(self.cache)
        groups = [[url] if cache is None else [url, cache.place(sidecar_name(url))] for url in urls]
        for url, *_ in read_ahead(groups):
            if cache is None:
                yield from ((sample, None) for sample in read_samples(url))
                continue
            sidecar, number = Sidecar(cache, url), 0
            for number, sample in enumerate(read_samples(url), 1):
                yield sample, sidecar.image(number - 1, sample.path, sample.image)
            sidecar.check_complete(number)

    def read(self, sample: TarSample, records: SidecarImage | None = None) -> Any:
        """Return the packed sample; None if its image is unreadable, or a step drops it.

        Args:
            sample: sample of a tar file.
            records: cached maps of the image. Defaults to None.

        Raises:
            UsageError: if a label cannot be read.
            UnreadableImageError: if too many images cannot be read.
        """
        item = self.load(sample, records)
        if self._unreadable is None:
            return None if isinstance(item, Unreadable) else item
        return self._unreadable.without(item, shard_name(sample.tar))

    def load(self, sample: TarSample, records: SidecarImage | None = None) -> Any:
        """Return the packed sample, an `Unreadable`, or None if a step drops the sample; see `read`."""
        classes = self.metainfo.get('classes')
        info = sample_info(sample, None if classes is None else len(classes), self.category_ids)
        if self.needs_labels and info.get(UNLABELLED):
            raise UsageError(
                f'{sample.path} has no label, and a model that is no lfi.Student learns from labels alone: '
                f'add a member .{"cls" if self.category_ids is None else "json"}, or remove the image'
            )
        with opened(sample):
            # `lfi cache` has decoded the images that have maps.
            if records is None or not records.was_readable:
                unreadable = find_undecodable_image(info, self.pipeline)
                if unreadable is not None:
                    return unreadable
            try:
                item = self.pipeline(dict(info) if records is None else {**info, RECORDS: records})
            except Exception:
                unreadable = find_cause_of_failure(info, self.pipeline)
                if unreadable is None:
                    raise
                return unreadable
        return mark_unlabelled(item) if info.get(UNLABELLED) else item


def check_shards(number: int, places: int, resampled: bool) -> None:
    """Check that there is a shard for each worker of each rank.

    Raises:
        UsageError: if there is not, and shards are not resampled.
    """
    if number < places and not resampled:
        raise UsageError(
            f'urls: {number} tar files are too few for {places} workers of all ranks: set a smaller '
            'train_dataloader.num_workers, or train_dataloader.dataset.resampled=True, or write more shards'
        )


def agreed_urls(urls: str | Sequence[str]) -> list[str]:
    """Return the expanded paths of tar files as the first process finds them; see `expand_urls`.

    A shard that arrives between the listings of two processes would change which shards each of them takes.
    """
    found = [expand_urls(urls)]
    broadcast_object_list(found)
    return found[0]


def expand_urls(urls: str | Sequence[str]) -> list[str]:
    """Expand braces and wildcards in the paths of tar files.

    Raises:
        UsageError: if there is none, or two have one name: their sidecars would be one file.
    """
    import braceexpand

    patterns = [urls] if isinstance(urls, str) else urls
    try:
        expanded = [url for pattern in patterns for url in braceexpand.braceexpand(pattern)]
    except ValueError as error:
        raise UsageError(
            f'urls={urls!r} has a brace without its partner: in a shell and in --cfg-options, quote the '
            "addresses, as in 'train-{000..099}.tar'"
        ) from error
    found = [path for url in expanded for path in (matches(url) if has_wildcards(url) else [url])]
    if not found:
        raise UsageError(f'urls={urls!r}: there is no such tar file')
    for url in found:
        refuse_secret(url)
    by_name, counts = dict[str, str](), Counter(found)
    for url in found:
        other = by_name.setdefault(sidecar_name(url), url)
        if other == url and counts[url] > 1:
            raise UsageError(f'urls: {url} comes twice: name it once')
        if other != url:
            raise UsageError(f'urls: {other} and {url} have one name, and so one sidecar: rename one')
    return found


def has_wildcards(url: str) -> bool:
    """Whether a path has wildcards. A question mark in an address begins a query."""
    return any(character in url for character in ('*[' if is_address(url) else '*?['))


def matches(pattern: str) -> list[str]:
    """Return the paths or addresses that match wildcards, sorted; the one of this name if it is there."""
    if '[' in pattern and exists(pattern):
        return [pattern]
    return match_objects(pattern) if is_address(pattern) else sorted(glob(pattern))
