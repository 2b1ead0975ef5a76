"""Detectors that learn from interactions. Needs mmdet; `lfi.models` does not import it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors import MaskRCNN
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from lfi.models.batches.samples import mark
from lfi.registry import MODELS

from .another_image import AnotherImagesMapsMixin
from .distill import InteractionDistillMixin
from .student import AnyTask, StudentMixin
from .unlabelled import LabelledTaskMixin, is_unlabelled, samples_of_training


class LabelledDetectorMixin(LabelledTaskMixin):
    """`LabelledTaskMixin` for mmdet's detectors, whose code asks every image for instances.

    Args:
        *args: of the detector.
        **kwargs: likewise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        empty_unlabelled(self.data_preprocessor)


class DetectorDistillMixin(InteractionDistillMixin, LabelledDetectorMixin):
    """`InteractionDistillMixin` for mmdet's detectors; put it before the detector among the bases.

    The concepts' first entries are the categories, in the data set's order. Images without labels learn from
    interactions and from the prior, as `LabelledTaskMixin` says. `LFIDetector` does so by a config alone.
    """

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """The categories of an image's objects; those beyond the bank are not looked for."""
        # Test images may have none.
        none = torch.zeros(0, dtype=torch.long, device=next(self.parameters()).device)
        labels = [getattr(sample.get('gt_instances'), 'labels', none) for sample in data_samples]
        found = torch.zeros(len(labels), num_concepts + 1, device=labels[0].device)
        # What the bank does not hold falls into an extra last column.
        return mark(found, [label.clamp_max(num_concepts) for label in labels])[:, :-1]


@MODELS.register_module()
class LFIDetector(AnyTask, DetectorDistillMixin):
    """Any detector of mmdet that learns from interactions, by a config alone.

    `dict(type='lfi.LFIDetector', task='mmdet.RTMDet', backbone=..., teacher=...)` builds an `LFIRTMDet`, with
    `DetectorDistillMixin` before the detector's own class.

    Args:
        task: the type of mmdet's detector.
        **arguments: of the detector, and of `InteractionDistillMixin`.

    Raises:
        TypeError, ValueError: as `InteractionDistillMixin` and `with_mixin` say.
    """

    prefix, mixin = 'LFI', DetectorDistillMixin


@MODELS.register_module()
class LFIMaskRCNN(DetectorDistillMixin, MaskRCNN):
    """mmdet's `MaskRCNN` that learns from interactions."""


@MODELS.register_module()
class ShuffledImagesMaskRCNN(AnotherImagesMapsMixin, LFIMaskRCNN):
    """`LFIMaskRCNN` whose images get the teacher's maps of another image of the batch: a negative control."""


class PriorDetectorMixin(StudentMixin, LabelledDetectorMixin):
    """The option `affinity_prior` for mmdet's detectors, without a teacher.

    As for LFI the backbone is an `InteractionQueryViT`, by default a plain ViT. Images without
    labels take part in the prior alone.
    """


@MODELS.register_module()
class PriorDetector(AnyTask, PriorDetectorMixin):
    """Any detector of mmdet with the prior, by a config alone: what an `LFIDetector` compares with.

    Args:
        task: the type of mmdet's detector.
        **arguments: of the detector, and of `StudentMixin`.

    Raises:
        TypeError, ValueError: as `StudentMixin` and `with_mixin` say.
    """

    prefix, mixin = 'Prior', PriorDetectorMixin


@MODELS.register_module()
class PriorMaskRCNN(PriorDetectorMixin, MaskRCNN):
    """mmdet's `MaskRCNN` with the prior."""


def empty_unlabelled(data_preprocessor: nn.Module) -> None:
    """Let a data preprocessor take the annotations from images that are marked as unlabelled.

    Their annotations then are of the kinds that the labelled images have, and say nothing: mmdet pads the
    masks and the map of classes of all images where the first has any, and its losses read boxes and labels.
    It does so in training.
    """
    data_preprocessor.register_forward_pre_hook(_Empty(), with_kwargs=True)


class _Empty:
    """Does it, and knows which annotations the latest labelled image had."""

    # Until one tells: masks do no harm where a loss reads none.
    with_mask = True
    with_map: bool | None = None

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        samples = samples_of_training(arguments, named)
        labelled = [sample for sample in samples if not is_unlabelled(sample)]
        if labelled and 'gt_instances' in labelled[0]:
            self.with_mask = 'masks' in labelled[0].gt_instances
            self.with_map = 'gt_sem_seg' in labelled[0]
        with_map = getattr(data_preprocessor, 'pad_seg', False) if self.with_map is None else self.with_map
        for sample in samples:
            if is_unlabelled(sample):
                sample.gt_instances = _no_instances(sample, self.with_mask)
                sample.ignored_instances = _no_instances(sample, self.with_mask)
                if with_map:
                    sample.gt_sem_seg = _blank_map(sample)


def _no_instances(sample: Any, with_mask: bool) -> InstanceData:
    none = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    if with_mask:
        height, width = sample.metainfo['img_shape'][:2]
        none.masks = BitmapMasks(np.zeros((0, height, width), np.uint8), height, width)
    return none


def _blank_map(sample: Any) -> PixelData:
    """All of the first class, for it counts for nothing, and of ignored pixels alone some losses are NaN."""
    return PixelData(sem_seg=torch.zeros(1, *sample.metainfo['img_shape'][:2], dtype=torch.long))
