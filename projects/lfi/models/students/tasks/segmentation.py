"""Segmentors of mmseg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.structures import PixelData
from torch import Tensor

from lfi.structures import BatchView

from .task import Task, labelled_loss


class Segmentation(Task):
    """mmseg's `EncoderDecoder` and its subclasses.

    With sliding windows (`test_cfg.mode='slide'`) learned queries read padding: mmseg does not report where
    a window lies in its image.
    """

    package, base = 'mmseg', 'EncoderDecoder'

    def num_classes(self, student: Any) -> int | None:
        """Return the number of classes of the decode head."""
        return getattr(student, 'num_classes', None)

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """Return the classes of each image's pixels, without ignored pixels and classes beyond the bank."""
        limit = num_concepts if num_classes is None else num_classes
        none = torch.zeros(0, dtype=torch.long, device=device)
        maps = [sample.gt_sem_seg.data if 'gt_sem_seg' in sample else none for sample in data_samples]
        return torch.stack([classes_of_pixels(pixels, limit, num_concepts) for pixels in maps])

    def loss(
        self,
        student: Any,
        task_loss: Callable[..., dict[str, Any]],
        batch: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """Run the student; the decode head learns from labelled images."""
        return labelled_loss(
            student, task_loss, batch, data_samples, partial(_blank_sample, device=batch.inputs.device)
        ), None


def classes_of_pixels(pixels: Tensor, num_classes: int, num_concepts: int) -> Tensor:
    """Return the classes that a segmentation map shows, (num_concepts,) of 0 and 1.

    Args:
        pixels: class of each pixel, integers of any shape; others than 0 to `num_classes` - 1 are ignored.
        num_classes: number of classes.
        num_concepts: number of texts in the teacher's bank; classes beyond it are ignored.
    """
    # mmdet's panoptic maps are int32, and `index_fill` takes int64 alone.
    classes = pixels.flatten().long()
    # An extra column takes all other pixels: selecting pixels would wait for the device.
    columns = classes.where((classes >= 0) & (classes < min(num_classes, num_concepts)), num_concepts)
    multi_hot = torch.zeros(num_concepts + 1, device=classes.device)
    return multi_hot.index_fill(0, columns, 1)[:-1]


def _blank_sample(sample: Any, device: torch.device) -> Any:
    """Make a sample whose pixels are all of class 0; some losses are NaN if all pixels are ignored."""
    blank = type(sample)(metainfo=sample.metainfo)
    for name, value in sample.items():
        # Some heads also read other maps: PIDNet's head reads edges.
        if name.startswith('gt_') and isinstance(value, PixelData):
            setattr(blank, name, PixelData(data=torch.zeros_like(value.data)))
    if 'gt_sem_seg' not in blank:
        height, width = sample.metainfo['img_shape'][:2]
        blank.gt_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.long, device=device))
    return blank
