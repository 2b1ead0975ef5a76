"""Labelled images of a data set, and a sampler that gives each batch the same share of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sized
from fractions import Fraction
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from lfi.registry import DATA_SAMPLERS
from lfi.structures.labels import UNLABELLED, check_share

NOT_OF_PIXELS = (
    'sample_idx',
    'gt_label',
    'gt_score',
    'instances',
    'seg_map_path',
    'segments_info',
    'caption',
    UNLABELLED,
)
"""Keys of a data info that tell no loader of images which pixels to load."""


def raw_info(dataset: Any, index: int) -> dict:
    """Return the data info that an image has in the annotations, without drawing or loading the image."""
    # `Shapes` overrides `get_data_info` and draws the image there.
    return (
        BaseDataset.get_data_info(dataset, index)
        if isinstance(dataset, BaseDataset)
        else dataset.get_data_info(index)
    )


def labelled_mask(dataset: Any) -> np.ndarray:
    """Return the mask of the labelled images, (N,) bool.

    An image is unlabelled if its data info has `unlabelled=True`, a `gt_label` below 0, or none of the keys
    `gt_label`, `instances` (which may be empty) and `seg_map_path`.

    Args:
        dataset: data set for classification, detection or segmentation, possibly inside mmengine's
            `ConcatDataset` or `RepeatDataset`.
    """
    labelled = getattr(dataset, 'labelled', None)
    if labelled is not None:
        # mmengine's `num_batch_per_epoch` shortens the data set, but not this mask.
        return np.asarray(labelled)[: len(dataset)]
    if isinstance(dataset, RepeatDataset):
        return np.tile(labelled_mask(dataset.dataset), dataset.times)
    parts = getattr(dataset, 'datasets', None)
    if parts is not None:
        return np.concatenate([labelled_mask(part) for part in parts])[: len(dataset)]
    return np.array([has_label(raw_info(dataset, i)) for i in range(len(dataset))], bool)


def mark_unlabelled(results: Any) -> Any:
    """Mark the packed sample as unlabelled, if there is one, and return `results`."""
    if results is not None and 'data_samples' in results:
        results['data_samples'].set_metainfo({UNLABELLED: True})
    return results


def has_label(info: Mapping) -> bool:
    """Whether an image is labelled, by its data info; see `labelled_mask`."""
    if info.get(UNLABELLED, False):
        return False
    if 'gt_label' in info:
        return bool(np.all(np.asarray(info['gt_label']) >= 0))
    return any(key in info for key in ('instances', 'seg_map_path', 'depth_map_path'))


UNLABELLED_STREAM, LABELLED_STREAM = 0, 1
"""Seeds of two independent random streams."""


@DATA_SAMPLERS.register_module()
class LabelledShareSampler(Sampler[int]):
    """Sampler that mixes labelled and unlabelled images at a fixed share in each batch.

    An epoch ends when both the labelled and the unlabelled images have been drawn. The images that run out
    first are repeated, evenly spread over the epoch: all are drawn once before any is drawn again, across
    epochs too. The number of labelled images in a batch of any size is exact to within one image. If all
    images are labelled, or none, an epoch is one pass over all images.

    Processes draw disjoint images in a pass, equally many labelled and unlabelled ones. Images from the start
    of a pass fill up its end. The order depends only on seed, epoch and number of processes, so that a
    resumed run continues with the same images.

    Args:
        dataset: data set, such as `lfi.FewLabels` or `lfi.SemiSupervisedDataset`; see `labelled_mask`.
        labelled_share: share of labelled images, more than 0.0001 away from 0 and 1. Defaults to 0.5.
        seed: seed of all processes. Defaults to None: the processes agree on one.

    Raises:
        ValueError: if the share is out of range, the seed is negative or the data set is empty.
    """

    def __init__(self, dataset: Sized, labelled_share: float = 0.5, seed: int | None = None) -> None:
        check_share(labelled_share)
        self.seed = sync_random_seed() if seed is None else seed
        if self.seed < 0:
            raise ValueError(f'seed={seed!r} is negative; use 0 or more')
        labelled = labelled_mask(dataset)
        if not len(labelled):
            raise ValueError('the data set has no images')
        self.labelled_share = labelled_share
        self.labelled, self.unlabelled = np.flatnonzero(labelled), np.flatnonzero(~labelled)
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        """Iterate over the image indices of this process in the current epoch."""
        if not (len(self.labelled) and len(self.unlabelled)):
            return iter(self._draw_pass(np.concatenate((self.labelled, self.unlabelled))))
        is_labelled = self._labelled_mask()
        order = np.empty(len(is_labelled), np.int64)
        num_labelled = int(is_labelled.sum())
        num_unlabelled = len(order) - num_labelled
        order[is_labelled] = self._draw_next(self.labelled, LABELLED_STREAM, num_labelled)
        order[~is_labelled] = (
            self._draw_pass(self.unlabelled)
            if num_unlabelled == self._pass_length(self.unlabelled)
            else self._draw_next(self.unlabelled, UNLABELLED_STREAM, num_unlabelled)
        )
        return iter(order.tolist())

    def __len__(self) -> int:
        """Number of images of this process in an epoch."""
        if not (len(self.labelled) and len(self.unlabelled)):
            return self._pass_length(self.labelled) + self._pass_length(self.unlabelled)
        return len(self._labelled_mask())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. mmengine's loops call it."""
        self.epoch = epoch

    def _labelled_mask(self) -> np.ndarray:
        """Mask (n,) of the labelled images in an epoch, which has n images for each process."""
        share = Fraction(self.labelled_share).limit_denominator(10_000)
        n = math.floor(self._pass_length(self.unlabelled) / (1 - share))
        num_labelled = self._pass_length(self.labelled)
        if math.floor(n * share) < num_labelled:
            n = math.ceil(num_labelled / share)
        labelled_before = np.arange(n + 1) * share.numerator // share.denominator
        return np.diff(labelled_before).astype(bool)

    def _pass_length(self, images: np.ndarray) -> int:
        """Number of images that one process draws in a pass over `images`."""
        return math.ceil(len(images) / self.world_size)

    def _draw_pass(self, images: np.ndarray) -> list[int]:
        """Draw this process's part of one pass over `images`, in the order of the epoch."""
        order = np.random.default_rng([self.seed, UNLABELLED_STREAM, self.epoch]).permutation(images)
        total = self._pass_length(order) * self.world_size
        return np.resize(order, total)[self.rank :: self.world_size].tolist()

    def _draw_next(self, images: np.ndarray, stream: int, n: int) -> np.ndarray:
        """Draw the next n images of this process, (n,), from an endless sequence of passes."""
        size = len(images)
        first = self.epoch * n * self.world_size + self.rank
        positions = first + self.world_size * np.arange(n)
        passes = range(positions[0] // size, positions[-1] // size + 1) if n else range(0)
        orders = [np.random.default_rng([self.seed, stream, number]).permutation(images) for number in passes]
        return np.concatenate(orders)[positions - passes.start * size] if n else images[:0]
