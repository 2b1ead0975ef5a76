"""mmpretrain's Mixup, CutMix and ResizeMix, with a record of what they mixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmpretrain.models.utils.batch_augments import CutMix, Mixup, RandomBatchAugment, ResizeMix
from torch import Tensor, nn

from lfi.structures import BatchMixture

KNOWN = (Mixup, CutMix, ResizeMix)


def record_mixtures(data_preprocessor: nn.Module) -> None:
    """Let a data preprocessor that mixes images leave a `BatchMixture` with their samples, as `mixture`.

    Its images and labels stay as they are, bit for bit. One that mixes nothing is left alone.

    Raises:
        ValueError: if it mixes by another way than mmpretrain's `Mixup`, `CutMix` and `ResizeMix`.
    """
    augment = getattr(data_preprocessor, 'batch_augments', None)
    if isinstance(augment, RandomBatchAugment) and not mixes_recorded(data_preprocessor):
        data_preprocessor.batch_augments = RecordedBatchAugment(augment)
        data_preprocessor.register_forward_hook(_note)


def mixes_recorded(data_preprocessor: nn.Module) -> bool:
    """Whether a data preprocessor mixes images, with a record."""
    return isinstance(getattr(data_preprocessor, 'batch_augments', None), RecordedBatchAugment)


def mixes_as_known(data_preprocessor: nn.Module) -> bool:
    """Whether a data preprocessor mixes images, by no other ways than those that `record_mixtures` knows."""
    augment = getattr(data_preprocessor, 'batch_augments', None)
    return isinstance(augment, RandomBatchAugment) and not unknown_ways(augment)


def refuse_unmixable(directions: Sequence[str]) -> None:
    """Raise a ValueError if cached maps without a semantic reading would be mixed."""
    if 'semantic' not in directions:
        raise ValueError(
            'the maps of this teacher have no semantic reading, and those of one image cannot be '
            "compared with another's: remove data_preprocessor.batch_augments (or train_cfg.augments), "
            'or ask the teacher online, by teacher.cache=None'
        )


def unknown_ways(augment: RandomBatchAugment) -> list:
    """What it mixes by that cannot be recorded."""
    return [one for one in augment.augments if one is not None and type(one) not in KNOWN]


def refuse_unrecorded_mixtures(data_preprocessor: nn.Module) -> None:
    """Raise a ValueError if a data preprocessor mixes images, and leaves no record for their captions."""
    augment = getattr(data_preprocessor, 'batch_augments', None)
    if isinstance(augment, RandomBatchAugment) and not mixes_recorded(data_preprocessor):
        raise ValueError(
            f'data_preprocessor.batch_augments has {type(unknown_ways(augment)[0]).__name__}: it is not '
            'known what it mixes, and gt_concepts are those of single images. Use Mixup, CutMix or ResizeMix'
        )


class RecordedBatchAugment(RandomBatchAugment):
    """A `RandomBatchAugment` that keeps what it has drawn until it is asked.

    Args:
        augment: what it does.

    Raises:
        ValueError: as `record_mixtures`.
    """

    def __init__(self, augment: RandomBatchAugment) -> None:
        if unknown := unknown_ways(augment):
            raise ValueError(
                f'data_preprocessor.batch_augments has {type(unknown[0]).__name__}: it is not known what it '
                'mixes, and a cache holds the maps of single images. Use Mixup, CutMix or ResizeMix, '
                'or ask the teacher online, by teacher.cache=None'
            )
        self.__dict__.update(vars(augment))
        self._drawn: BatchMixture | None = None

    def __call__(self, batch_input: Tensor, batch_score: Tensor) -> tuple[Tensor, Tensor]:
        """Mix as ever."""
        with _draws_kept():
            self._drawn = self._draw(len(batch_input), (batch_input.shape[-2], batch_input.shape[-1]))
        mixed: tuple[Tensor, Tensor] = super().__call__(batch_input, batch_score)
        return mixed

    def take(self) -> BatchMixture | None:
        """What the latest call has mixed, once."""
        drawn, self._drawn = self._drawn, None
        return drawn

    def _draw(self, batch_size: int, size: tuple[int, int]) -> BatchMixture | None:
        """What the call is about to draw, in its order and from the same source."""
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
def _draws_kept() -> Iterator[None]:
    """What is drawn inside is drawn again after it."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _refuse_unequal(data_samples: Sequence) -> None:
    """Raise a ValueError for images of several sizes: of a mixed one nothing tells where padding begins."""
    shapes = (sample.metainfo.get('img_shape') for sample in data_samples)
    sizes = sorted({tuple(shape[:2]) for shape in shapes if shape is not None})
    if len(sizes) > 1:
        (height, width), (other_height, other_width) = sizes[0], sizes[-1]
        raise ValueError(
            f'data_preprocessor.batch_augments mixes images of {height} x {width} and {other_height} x '
            f'{other_width} pixels, and what comes to lie in padding would be taken for padding: crop or '
            'resize all images to one size in train_pipeline, or remove it (or train_cfg.augments)'
        )


def _note(data_preprocessor: Any, arguments: tuple, output: dict) -> None:
    mixture = data_preprocessor.batch_augments.take()
    if mixture is not None:
        _refuse_unequal(output['data_samples'])
        for sample in output['data_samples']:
            # `set_metainfo` would copy it for each.
            sample.set_field(mixture, 'mixture', field_type='metainfo')
