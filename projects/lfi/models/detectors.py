"""Detectors that learn from interactions. Needs mmdet; `lfi.models` does not import it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.detectors import MaskRCNN
from torch import Tensor

from lfi.registry import MODELS

from .batches import mark
from .distill import InteractionDistillMixin
from .empty_instances import empty_unlabelled
from .labelled_task import LabelledTaskMixin
from .other_images import AnotherImagesMapsMixin
from .student import StudentMixin
from .task_models import AnyTask


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
