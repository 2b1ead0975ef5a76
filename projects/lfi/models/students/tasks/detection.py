"""Detectors of mmdet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from lfi.structures import BatchView, is_unlabelled, set_multi_hot_

from .hooks import samples_of_training
from .segmentation import classes_of_pixels
from .task import Task, labelled_loss


class Detection(Task):
    """mmdet's `BaseDetector` and its subclasses."""

    package, base = 'mmdet', 'BaseDetector'

    # Number of things and stuff in `gt_sem_seg` of a panoptic model. 0 for other models, whose `gt_sem_seg`
    # is not read: its classes are not the concepts. Those of HTC are COCO-Stuff's.
    _num_sem_seg_classes = 0

    def set_up(self, student: Any) -> None:
        """Empty the annotations of unlabelled images: mmdet reads the annotations of all images."""
        register_annotation_emptying(student.data_preprocessor)
        if hasattr(student, 'panoptic_fusion_head'):
            self._num_sem_seg_classes = student.panoptic_fusion_head.num_classes

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """Return the categories of each image's objects; categories beyond the bank are ignored.

        Objects that the task ignores, such as crowds, count: the image shows them. For panoptic models, the
        classes of `gt_sem_seg` are added: things and stuff.
        """
        # Test images may have no instances.
        none = torch.zeros(0, dtype=torch.long, device=device)
        fields = ('gt_instances', 'ignored_instances')
        labels = [
            torch.cat([getattr(sample.get(name), 'labels', none) for name in fields])
            for sample in data_samples
        ]
        multi_hot = torch.zeros(len(labels), num_concepts + 1, device=labels[0].device)
        # The extra last column takes categories beyond the bank.
        multi_hot = set_multi_hot_(multi_hot, [label.clamp_max(num_concepts) for label in labels])[:, :-1]
        for row, sample in zip(multi_hot, data_samples):
            if self._num_sem_seg_classes and 'gt_sem_seg' in sample:
                pixels = sample.gt_sem_seg.sem_seg
                row.copy_(row.maximum(classes_of_pixels(pixels, self._num_sem_seg_classes, num_concepts)))
        return multi_hot

    def loss(
        self,
        student: Any,
        task_loss: Callable[..., dict[str, Any]],
        batch: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """Run the student; an image without instances and without the unlabelled mark is a negative."""
        return labelled_loss(student, task_loss, batch, data_samples, _unchanged), None


def _unchanged(sample: Any) -> Any:
    """Return the sample itself: the hook of `register_annotation_emptying` has emptied its annotations."""
    return sample


def register_annotation_emptying(data_preprocessor: nn.Module) -> None:
    """Make a data preprocessor empty the annotations of unlabelled images in training.

    The emptied annotations have the same fields as those of labelled images: mmdet pads masks and semantic
    maps of all images if the first image has them, and its losses read boxes and labels.
    """
    data_preprocessor.register_forward_pre_hook(_EmptyAnnotations(), with_kwargs=True)


class _EmptyAnnotations:
    """Hook of `register_annotation_emptying`, which stores the fields of the latest labelled image."""

    # Values before the first labelled image. Masks do no harm if no loss reads them.
    with_mask = True
    with_map: bool | None = None

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, kwargs: dict[str, Any]) -> None:
        samples = samples_of_training(arguments, kwargs)
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
        from mmdet.structures.mask import BitmapMasks

        height, width = sample.metainfo['img_shape'][:2]
        none.masks = BitmapMasks(np.zeros((0, height, width), np.uint8), height, width)
    return none


def _blank_map(sample: Any) -> PixelData:
    """Make a `gt_sem_seg` of class 0. If all pixels had the ignore index, some losses would be NaN.

    `labelled_loss` multiplies losses of this map by 0.
    """
    return PixelData(sem_seg=torch.zeros(1, *sample.metainfo['img_shape'][:2], dtype=torch.long))
