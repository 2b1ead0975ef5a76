"""Teacher of a config, and the images that the teacher is asked about."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.model.utils import stack_batch
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader, Dataset

from lfi.concepts.concept_check_hook import check_class_order, classes_of
from lfi.datasets import unaugmented, with_recorded_views
from lfi.datasets.image_paths import distinct_images, distinguishing_parts
from lfi.datasets.labelled_images import NOT_OF_PIXELS, raw_info
from lfi.datasets.transforms.view_draws import requesting_seed, view_seed
from lfi.engine.cached_pipelines import loading_options, view_recipe
from lfi.engine.pipelines import mixes_images
from lfi.errors import UsageError, as_usage_error
from lfi.models.students.cache_targets import CacheTargets
from lfi.structures import BatchView, InteractionMaps
from lfi.structures.interaction_cache import NUM_COMPLETE
from lfi.unreadable import DroppedImageError, Unreadable, UnreadableImageError, refuse_unreadable
from lfi.utils.config_types import model_config
from lfi.utils.fileio import file_digest

FILE_DIGEST = 'file_digest'
"""Key of an item under which the checksum of its file lies."""


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


class ItemDataset(Dataset):
    """Data set of items, an item for each view of each image; an `Unreadable` where an image cannot be read.

    Item `row * views + view` is a view of the image `paths[row]`. View 0 is the complete image and view 1 the
    mirrored one. Others are drawn.

    Args:
        complete: data set of the complete images.
        drawn: data set whose pipeline draws the views; None if no views are drawn.
        paths: path of each row.
        indices: index of each row in the data sets.
        views: number of views of each image.
        name_parts: number of last path parts that identify an image in the cache.
    """

    def __init__(
        self,
        complete: Any,
        drawn: Any,
        paths: Sequence[str],
        indices: Sequence[int],
        views: int,
        name_parts: int,
    ) -> None:
        self.complete, self.drawn, self.paths, self.indices = complete, drawn, paths, indices
        self.views, self.name_parts = views, name_parts
        refuse_unreadable(complete)
        if drawn is not None:
            refuse_unreadable(drawn)

    def __len__(self) -> int:
        return len(self.indices) * self.views

    def __getitem__(self, item: int) -> Any:
        row, view = divmod(item, self.views)
        # Before the image is read: a file that is replaced meanwhile differs from its record.
        digest = file_digest(self.paths[row])
        try:
            return {**self._load(row, view), FILE_DIGEST: digest}
        except UnreadableImageError as error:
            return error.image

    def _load(self, row: int, view: int) -> dict:
        if view >= NUM_COMPLETE:
            return self._draw(row, view)
        complete = self._complete(row)
        return mirrored(complete) if view else complete

    def _complete(self, row: int) -> dict:
        item: dict = self.complete[self.indices[row]]
        if (shown := _path_of(item)) != self.paths[row]:
            raise UsageError(
                f'{self.paths[row]}: the data set gives {shown} in its place, because its own __getitem__, '
                'prepare_data or get_data_info draws or reorders images, or a wrapper drops this one: a '
                'cache needs a data set that gives the image of each data info, so train with '
                'model.teacher.cache=None'
            )
        return item

    def _draw(self, row: int, view: int) -> Any:
        path = self.paths[row]
        dropped = (
            f'{path}: a step in lfi.RecordView shows nothing of it in view {view}, and drops the image: '
            f'use at most --views {NUM_COMPLETE}'
        )
        try:
            with requesting_seed(view_seed(path, self.name_parts, view)):
                item = self.drawn[self.indices[row]]
        except DroppedImageError as error:
            # A loading step may have dropped it: then the complete image is unreadable, too.
            self._complete(row)
            raise UsageError(dropped) from error
        # A wrapper draws another image where a step of its own pipeline returns None.
        if _path_of(item) != path:
            self._complete(row)
            raise UsageError(dropped)
        return item


def _path_of(item: dict) -> str:
    """Return the path of the image in a packed item.

    Raises:
        UsageError: if the pipeline packs no path.
    """
    path = item['data_samples'].metainfo.get('img_path')
    if path is None:
        raise UsageError(
            'train_dataloader: its pipeline packs no img_path, by which maps are known: add '
            "'img_path' to meta_keys of the step that packs"
        )
    return os.fspath(path)


def mirrored(item: dict) -> dict:
    """Mirror the image of a packed item from left to right. Its labels stay; no boxes or masks are read."""
    return {**item, 'inputs': item['inputs'].flip(-1)}


def collate(items: Sequence) -> Batch:
    """Collate items of an `ItemDataset`."""
    unreadable = {i: item for i, item in enumerate(items) if isinstance(item, Unreadable)}
    positions = [i for i in range(len(items)) if i not in unreadable]
    return Batch(pseudo_collate([items[i] for i in positions]) if positions else {}, positions, unreadable)


class AskedTeacher:
    """Teacher of a config, which is asked about views of the training images.

    Args:
        cfg: config of the training.
        views: views of each image that the teacher is asked about.

    Raises:
        UsageError: if the config has no teacher, or training could not use the maps.
    """

    def __init__(self, cfg: Config, views: int) -> None:
        if not cfg.model.get('teacher'):
            raise UsageError('the config has no model.teacher to ask')
        self.cache_targets = CacheTargets(model_config(cfg))
        self.identity = self.cache_targets.identity
        if mixes_images(cfg):
            self.cache_targets.check_mosaics()
        self.views, self.recipe = views, view_recipe(cfg) if views > NUM_COMPLETE else None
        self.loading = loading_options(cfg)
        self.complete = DATASETS.build(unaugmented(cfg.train_dataloader.dataset))
        self.drawn = (
            None if self.recipe is None else DATASETS.build(with_recorded_views(cfg.train_dataloader.dataset))
        )
        self._check_classes(cfg)
        self.device = torch.device(get_device())

    def _check_classes(self, cfg: Config) -> None:
        """Check that the concepts begin with the classes, as `lfi.ConceptCheckHook` does in training."""
        hooks = cfg.get('default_hooks') or {}
        is_disabled = 'concept_check' in hooks and hooks['concept_check'] is None
        if is_disabled or not self.cache_targets.reads_labels:
            return
        bank = self.cache_targets.teacher.bank
        with as_usage_error(ValueError):
            check_class_order(classes_of(self.complete), bank.names, bank.num_concepts, 'teacher')

    def compute_maps(self, batch: dict) -> InteractionMaps:
        """Return the teacher's maps of a batch."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in batch['inputs']]
        # Keep uint8: the teacher resizes and normalises the images, each at its own size.
        inputs = stack_batch(batch['inputs']).to(self.device, non_blocking=True)
        return self.cache_targets.compute(BatchView.raw(inputs, sizes))


class TeacherJob(AskedTeacher):
    """Teacher of a config, and its training images: each image once, complete or in several views.

    Args:
        cfg: config of the training.
        views: views of each image that the teacher is asked about. Defaults to 1: the complete image.
        name_parts: number of last path parts that identify an image. Defaults to None: as many as needed.
        only: paths of the images to ask about. Defaults to None: all.

    Raises:
        UsageError: see `AskedTeacher`; if the data set names no files, or a loading step may show several
            parts of one file.
    """

    def __init__(
        self,
        cfg: Config,
        views: int = 1,
        name_parts: int | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        super().__init__(cfg, views)
        self.name = getattr(self.complete, 'data_root', None) or type(self.complete).__name__
        self.paths, indices = distinct_images(self.complete)
        # One process compares all names.
        if name_parts is None:
            parts = [distinguishing_parts(self.complete, self.paths) if dist.get_rank() == 0 else 0]
            dist.broadcast_object_list(parts)
            name_parts = parts[0]
        self.name_parts = name_parts
        if only is not None:
            chosen = [row for row, path in enumerate(self.paths) if path in only]
            self.paths, indices = [self.paths[row] for row in chosen], [indices[row] for row in chosen]
        if len(self.paths) < len(self.complete):
            self._refuse_parts_of_files()
        self.dataset = ItemDataset(self.complete, self.drawn, self.paths, indices, views, self.name_parts)

    def _refuse_parts_of_files(self) -> None:
        """Refuse images of one file that a loader of the user's own may tell apart by their data infos."""
        if not any('type' in step for step in self.loading or ()):
            return
        first: dict[str, dict] = {}
        for index in range(len(self.complete)):
            info = raw_info(self.complete, index)
            others = {key: value for key, value in info.items() if key not in NOT_OF_PIXELS}
            if repr(first.setdefault(info['img_path'], others)) != repr(others):
                raise UsageError(
                    f'{info["img_path"]} is listed more than once, with other entries, and the loading step '
                    f'{self.loading} may show another part of it each time. A cache has the maps of a file '
                    'once: write each part to a file of its own, or ask the teacher online'
                )

    def items(self, rows: range) -> range:
        """Return the items of the views of rows, which are indices of `paths`."""
        return range(rows.start * self.views, rows.stop * self.views)

    def batches(self, item_batches: Iterable[Any], num_workers: int) -> Iterator[Batch]:
        """Yield a batch for each sequence of items, loaded by `num_workers` processes."""
        yield from DataLoader(
            self.dataset, batch_sampler=item_batches, num_workers=num_workers, collate_fn=collate
        )
