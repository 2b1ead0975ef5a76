"""Confusions of classes, measured on some images of a run's data."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from torch import Tensor

from lfi.apis.truth import IGNORED
from lfi.utils.modules import eval_mode

from .run_images import RunImages

MAX_IMAGES, MAX_SECONDS = 500, 20
"""Largest number of images, and the seconds after which no batch begins."""

Pair = tuple[int, int]
"""Label of the truth, and predicted label."""


@dataclass(frozen=True)
class Confusion:
    """Confusions of classes.

    Args:
        num_images: number of images that were measured.
        num_available: number of images of the data.
        pairs: number of images of a classifier, or of pixels of a segmentor, by pair.
        examples: index of an image by pair; of a classifier alone.
    """

    num_images: int
    num_available: int
    pairs: Counter[Pair] = field(default_factory=Counter)
    examples: dict[Pair, int] = field(default_factory=dict)

    @property
    def truths(self) -> Counter[int]:
        """Number of images or pixels by label of the truth."""
        return _totals(self.pairs, 0)

    @property
    def num_right(self) -> int:
        """Number of images or pixels that are right."""
        return sum(count for (truth, prediction), count in self.pairs.items() if truth == prediction)

    def mistakes(self) -> list[tuple[Pair, int]]:
        """Return the pairs that differ with their numbers, the most frequent first."""
        return [(pair, count) for pair, count in self.pairs.most_common() if pair[0] != pair[1]]

    def iou(self) -> dict[int, float]:
        """Return the intersection over union of each label that is true or predicted somewhere."""
        truths, predictions = self.truths, _totals(self.pairs, 1)
        both = {label: self.pairs[label, label] for label in sorted(truths | predictions)}
        return {label: right / (truths[label] + predictions[label] - right) for label, right in both.items()}


def _totals(pairs: Counter[Pair], part: int) -> Counter[int]:
    totals: Counter[int] = Counter()
    for pair, count in pairs.items():
        totals[pair[part]] += count
    return totals


def measure_confusion(model: BaseModel, images: RunImages) -> Confusion:
    """Compare predictions with labels on up to 500 images, chosen by a fixed seed, in up to 20 seconds.

    Args:
        model: classifier or segmentor.
        images: data with a label for each image, or for each pixel.

    Raises:
        ValueError: if the images have no such labels, or the model predicts neither.
    """
    pairs: Counter[Pair] = Counter()
    examples: dict[Pair, int] = {}
    measured, start = 0, time.monotonic()
    indices = images.sample(MAX_IMAGES)
    with torch.inference_mode(), eval_mode(model):
        for first in range(0, len(indices), images.batch_size):
            batch = indices[first : first + images.batch_size]
            samples = model.test_step(pseudo_collate([images.dataset[index] for index in batch]))
            for index, sample in zip(batch, samples):
                found, counts = _labels(sample).unique(dim=1, return_counts=True)
                for (truth, prediction), count in zip(found.T.tolist(), counts.tolist()):
                    pairs[truth, prediction] += count
                    if 'pred_label' in sample:
                        examples.setdefault((truth, prediction), index)
            measured += len(batch)
            if time.monotonic() - start > MAX_SECONDS:
                break
    return Confusion(measured, len(images.dataset), pairs, examples)


def _labels(sample: Any) -> Tensor:
    """Return true and predicted labels, (2, 1) of a classifier, (2, N) of a segmentor's known pixels.

    Raises:
        ValueError: if there are none.
    """
    if 'pred_label' in sample:
        if 'gt_label' not in sample or len(sample.gt_label) != 1 or sample.gt_label.item() < 0:
            raise ValueError('an image has no label, or several')
        return torch.stack((sample.gt_label.cpu(), sample.pred_label.cpu()))
    if 'pred_sem_seg' in sample and 'gt_sem_seg' in sample:
        truth, prediction = sample.gt_sem_seg.data.cpu(), sample.pred_sem_seg.data.cpu()
        if truth.shape != prediction.shape:
            raise ValueError('the segmentation has another size than its annotation')
        return torch.stack((truth, prediction))[:, truth != IGNORED]
    raise ValueError('the model predicts no class, or the images have no labels')
