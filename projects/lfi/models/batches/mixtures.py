"""Records of the images that mmpretrain's Mixup, CutMix and ResizeMix mix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmpretrain.models.utils.batch_augments import CutMix, Mixup, RandomBatchAugment, ResizeMix
from torch import Tensor, nn

from lfi.structures import BatchMixture

SUPPORTED = (Mixup, CutMix, ResizeMix)


def record_mixtures(data_preprocessor: nn.Module) -> None:
    """Make a data preprocessor store how it mixes images: a `BatchMixture` in each sample, as `mixture`.

    Images and labels stay the same bit for bit. A data preprocessor that mixes nothing is left unchanged.

    Raises:
        ValueError: if a batch augment is not mmpretrain's `Mixup`, `CutMix` or `ResizeMix`.
    """
    augment = getattr(data_preprocessor, 'batch_augments', None)
    if isinstance(augment, RandomBatchAugment) and not records_mixtures(data_preprocessor):
        data_preprocessor.batch_augments = RecordedBatchAugment(augment)
        if _attach_mixture not in data_preprocessor._forward_hooks.values():
            data_preprocessor.register_forward_hook(_attach_mixture)


def records_mixtures(data_preprocessor: nn.Module) -> bool:
    """Whether a data preprocessor mixes images and records the mixtures."""
    return isinstance(getattr(data_preprocessor, 'batch_augments', None), RecordedBatchAugment)


def record_known_mixtures(data_preprocessor: nn.Module) -> None:
    """Record mixtures as `record_mixtures` does, but leave augments that it refuses without a record."""
    augment = getattr(data_preprocessor, 'batch_augments', None)
    if isinstance(augment, RandomBatchAugment) and not unsupported_augments(augment):
        record_mixtures(data_preprocessor)


def check_mixable(directions: Sequence[str]) -> None:
    """Raise a ValueError if cached maps have no semantic direction, which mixed images need."""
    if 'semantic' not in directions:
        raise ValueError(
            'the maps of this teacher have no semantic direction, so that maps of different images cannot be '
            'mixed: remove data_preprocessor.batch_augments (or train_cfg.augments), or ask the teacher '
            'online with teacher.cache=None'
        )


def unsupported_augments(augment: RandomBatchAugment) -> list:
    """Return the batch augments that cannot be recorded."""
    return [child for child in augment.augments if child is not None and type(child) not in SUPPORTED]


def check_mixtures_recorded(data_preprocessor: nn.Module) -> None:
    """Raise a ValueError if a data preprocessor mixes images without a record, which captions need."""
    augment = getattr(data_preprocessor, 'batch_augments', None)
    if isinstance(augment, RandomBatchAugment) and not records_mixtures(data_preprocessor):
        # A known augment has no record if the data preprocessor has replaced that of the student's config.
        unrecorded = (unsupported_augments(augment) or augment.augments)[0]
        raise ValueError(
            f'data_preprocessor.batch_augments has {type(unrecorded).__name__}: it is not recorded, and '
            "gt_concepts are those of single images. Use Mixup, CutMix or ResizeMix, in the student's config"
        )


class RecordedBatchAugment(RandomBatchAugment):
    """A `RandomBatchAugment` that records its latest mixture.

    Args:
        augment: batch augment to record.

    Raises:
        ValueError: if an augment is not mmpretrain's `Mixup`, `CutMix` or `ResizeMix`.
    """

    def __init__(self, augment: RandomBatchAugment) -> None:
        if unsupported := unsupported_augments(augment):
            raise ValueError(
                f'data_preprocessor.batch_augments has {type(unsupported[0]).__name__}: it is not '
                'recorded, and a cache holds the maps of single images. Use Mixup, CutMix or ResizeMix, '
                'or ask the teacher online with teacher.cache=None'
            )
        self.__dict__.update(vars(augment))
        self._mixture: BatchMixture | None = None

    def __call__(self, batch_input: Tensor, batch_score: Tensor) -> tuple[Tensor, Tensor]:
        """Mix images (B, C, H, W) and scores (B, classes) as the wrapped augment does."""
        with _restored_rng_state():
            self._mixture = self._draw(len(batch_input), (batch_input.shape[-2], batch_input.shape[-1]))
        mixed: tuple[Tensor, Tensor] = super().__call__(batch_input, batch_score)
        return mixed

    def take(self) -> BatchMixture | None:
        """Return the mixture of the latest call, and forget it."""
        mixture, self._mixture = self._mixture, None
        return mixture

    def _draw(self, batch_size: int, size: tuple[int, int]) -> BatchMixture | None:
        """Draw the mixture that the wrapped augment will draw, in its order from the same generators."""
        augment = self.augments[np.random.choice(len(self.augments), p=self.probs)]  # noqa: NPY002
        if augment is None:
            return None
        share = float(np.random.beta(augment.alpha, augment.alpha))  # noqa: NPY002
        if isinstance(augment, ResizeMix):
            share = share * (augment.lam_max - augment.lam_min) + augment.lam_min
        other = torch.randperm(batch_size)
        if not isinstance(augment, CutMix):
            return BatchMixture(other, size, share)
        (top, bottom, left, right), _ = augment.cutmix_bbox_and_lam(size, share)
        box = int(top), int(bottom), int(left), int(right)
        return BatchMixture(other, size, box=box, resized=isinstance(augment, ResizeMix))


@contextmanager
def _restored_rng_state() -> Iterator[None]:
    """Restore the states of the random number generators at exit."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _refuse_unequal_sizes(data_samples: Sequence) -> None:
    """Raise a ValueError for images of several sizes: a mixed image has no single boundary of padding."""
    shapes = (sample.metainfo.get('img_shape') for sample in data_samples)
    sizes = sorted({tuple(shape[:2]) for shape in shapes if shape is not None})
    if len(sizes) > 1:
        (height, width), (other_height, other_width) = sizes[0], sizes[-1]
        raise ValueError(
            f'data_preprocessor.batch_augments mixes images of {height} x {width} and {other_height} x '
            f'{other_width} pixels, and pixels mixed into padding would count as padding: crop or resize all '
            'images to one size in train_pipeline, or remove batch_augments (or train_cfg.augments)'
        )


def _attach_mixture(data_preprocessor: Any, arguments: tuple, output: dict) -> None:
    if not records_mixtures(data_preprocessor):
        # A hook, such as mmpretrain's SwitchRecipeHook, has set other batch augments, or none.
        return
    mixture = data_preprocessor.batch_augments.take()
    if mixture is not None:
        _refuse_unequal_sizes(output['data_samples'])
        for sample in output['data_samples']:
            # `set_metainfo` would copy the mixture for each sample.
            sample.set_field(mixture, 'mixture', field_type='metainfo')
