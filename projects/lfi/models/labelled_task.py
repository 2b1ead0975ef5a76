"""Detectors and segmentors that learn their task from the labelled images of a batch alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .unlabelled import labelled_rows, take_rows

if TYPE_CHECKING:
    # Of what the mixin stands before.
    from mmdet.models.detectors import BaseDetector
else:
    BaseDetector = object


class LabelledTaskMixin(BaseDetector):
    """Lets a task learn from the images of a batch that have a label; put it before the task's model.

    The backbone sees all images, in one pass. An image that is marked as unlabelled (`lfi.ImageFolder`) is no
    negative: the task never sees it. One without instances and without the mark stays a negative. Where no
    image has a label the task's losses are exactly 0, with gradients of 0, as DDP wants them.
    """

    learns_without_labels = True
    """Says to the tools that images without a label do no harm."""

    _features: Any = None

    def extract_feat(self, batch_inputs: Tensor) -> Any:
        """The task's features; those of the labelled images while it learns from them."""
        return super().extract_feat(batch_inputs) if self._features is None else self._features

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Any]:
        """The task's losses of a batch (B, 3, H, W), over the labelled images."""
        rows = labelled_rows(data_samples)
        if rows is None:
            return super().loss(inputs, data_samples, **kwargs)
        # The task wants one image at least; its losses then count for nothing.
        taken = rows or [0]
        samples = [data_samples[row] for row in taken] if rows else [self.blank(data_samples[0])]
        self._features = take_rows(self.extract_feat(inputs), taken)
        try:
            losses = super().loss(take_rows(inputs, taken), samples, **kwargs)
        finally:
            self._features = None
        return losses if rows else {name: _nothing(value) for name, value in losses.items()}

    def blank(self, sample: Any) -> Any:
        """A sample of an unlabelled image that the task's loss takes; it counts for nothing."""
        return sample


def _nothing(value: Any) -> Any:
    return [_nothing(each) for each in value] if isinstance(value, list | tuple) else 0 * value
