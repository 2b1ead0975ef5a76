"""Which images of a data set have a label, and a sampler that gives each batch the same share of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from fractions import Fraction
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from lfi.registry import DATA_SAMPLERS
from lfi.structures.labels import UNLABELLED, check_share


def raw_info(dataset: Any, index: int) -> dict:
    """A data info as the annotations have it, without what a data set draws or reads for it."""
    # Shapes draws its image in a `get_data_info` of its own.
    return (
        BaseDataset.get_data_info(dataset, index)
        if isinstance(dataset, BaseDataset)
        else dataset.get_data_info(index)
    )


def labelled_images(dataset: Any) -> np.ndarray:
    """Which images have a label, (N,) bool.

    An image has none where its data info has `unlabelled=True`, a `gt_label` below 0, or no annotation: no
    `gt_label`, no `instances`, were they none, and no `seg_map_path`.

    Args:
        dataset: of a classifier, a detector or a segmentor; mmengine's `ConcatDataset` and `RepeatDataset`
            may hold it.
    """
    own = getattr(dataset, 'labelled', None)
    if own is not None:
        # A data set of which a slice is used (`num_batch_per_epoch`) answers for all of it.
        return np.asarray(own)[: len(dataset)]
    if isinstance(dataset, RepeatDataset):
        return np.tile(labelled_images(dataset.dataset), dataset.times)
    parts = getattr(dataset, 'datasets', None)
    if parts is not None:
        return np.concatenate([labelled_images(part) for part in parts])[: len(dataset)]
    return np.array([_has_label(raw_info(dataset, i)) for i in range(len(dataset))], bool)


def mark_unlabelled(results: Any) -> Any:
    """Mark the sample that a pipeline gave of an image without a label, if it gave one; returns the same."""
    if results is not None and 'data_samples' in results:
        results['data_samples'].set_metainfo({UNLABELLED: True})
    return results


def _has_label(info: dict) -> bool:
    if info.get(UNLABELLED, False):
        return False
    if 'gt_label' in info:
        return bool(np.all(np.asarray(info['gt_label']) >= 0))
    return 'instances' in info or 'seg_map_path' in info


UNLABELLED_STREAM, LABELLED_STREAM = 0, 1
"""Streams of random numbers that have nothing in common."""


@DATA_SAMPLERS.register_module()
class LabelledShareSampler(Sampler[int]):
    """Mixes images with and without a label, so that each batch has the same share of either.

    An epoch passes once over the images of the kind that lasts longer at this share. Those of the other kind
    come between them, evenly, and are repeated: each comes once before one comes again, across epochs too. Of
    the images of any batch `labelled_share` have a label, to within one, whatever the batch's size is. Where
    all images have a label, or none has, an epoch passes over them once.

    Processes see images that no other sees in the same pass, and as many each, of either kind; the first ones
    of a pass fill up. The order depends on seed, epoch and number of processes alone: a run that is resumed
    goes on with what would have come.

    Args:
        dataset: as `labelled_images` takes it: `lfi.FewLabels`, or `lfi.SemiSupervisedDataset`.
        labelled_share: of images with a label, above 0 and below 1, and within 0.0001 of neither. Defaults to
            0.5.
        seed: the same for all processes. Defaults to None: one that they agree on.

    Raises:
        ValueError: for a share out of its range, a negative seed or an empty data set.
    """

    def __init__(self, dataset: Sized, labelled_share: float = 0.5, seed: int | None = None) -> None:
        check_share(labelled_share)
        self.seed = sync_random_seed() if seed is None else seed
        if self.seed < 0:
            raise ValueError(f'seed={seed!r} is negative; use 0 or more')
        labelled = labelled_images(dataset)
        if not len(labelled):
            raise ValueError('the data set has no images')
        self.labelled_share = labelled_share
        self.labelled, self.unlabelled = np.flatnonzero(labelled), np.flatnonzero(~labelled)
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        """The indices of this process's images in the epoch that `set_epoch` has named."""
        if not (len(self.labelled) and len(self.unlabelled)):
            return iter(self._pass_over(np.concatenate((self.labelled, self.unlabelled))))
        is_labelled = self._pattern()
        order = np.empty(len(is_labelled), np.int64)
        labelled = int(is_labelled.sum())
        unlabelled = len(order) - labelled
        order[is_labelled] = self._next(self.labelled, LABELLED_STREAM, labelled)
        order[~is_labelled] = (
            self._pass_over(self.unlabelled)
            if unlabelled == self._a_pass(self.unlabelled)
            else self._next(self.unlabelled, UNLABELLED_STREAM, unlabelled)
        )
        return iter(order.tolist())

    def __len__(self) -> int:
        """How many images this process sees in an epoch."""
        if not (len(self.labelled) and len(self.unlabelled)):
            return self._a_pass(self.labelled) + self._a_pass(self.unlabelled)
        return len(self._pattern())

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes; mmengine's loops do."""
        self.epoch = epoch

    def _pattern(self) -> np.ndarray:
        """Where the labelled images come in the process's epoch, (n,) bool."""
        share = Fraction(self.labelled_share).limit_denominator(10_000)
        n = math.floor(self._a_pass(self.unlabelled) / (1 - share))
        labelled = self._a_pass(self.labelled)
        if math.floor(n * share) < labelled:
            n = math.ceil(labelled / share)
        before = np.arange(n + 1) * share.numerator // share.denominator
        return np.diff(before).astype(bool)

    def _a_pass(self, images: np.ndarray) -> int:
        """How many of the images a process sees in a pass over all of them."""
        return math.ceil(len(images) / self.world_size)

    def _pass_over(self, images: np.ndarray) -> list[int]:
        """This process's part of a pass over all images, in the epoch's order."""
        order = np.random.default_rng([self.seed, UNLABELLED_STREAM, self.epoch]).permutation(images)
        total = self._a_pass(order) * self.world_size
        return np.resize(order, total)[self.rank :: self.world_size].tolist()

    def _next(self, images: np.ndarray, stream: int, n: int) -> np.ndarray:
        """The n images of this process in this epoch, (n,), of an endless row of passes over all of them."""
        size = len(images)
        first = self.epoch * n * self.world_size + self.rank
        numbers = first + self.world_size * np.arange(n)
        passes = range(numbers[0] // size, numbers[-1] // size + 1) if n else range(0)
        orders = [np.random.default_rng([self.seed, stream, number]).permutation(images) for number in passes]
        return np.concatenate(orders)[numbers - passes.start * size] if n else images[:0]
