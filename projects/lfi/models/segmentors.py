"""Segmentors that learn from interactions. Needs mmseg; `lfi.models` does not import it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from lfi.registry import MODELS

from .distill import InteractionDistillMixin


class SegmentorDistillMixin(InteractionDistillMixin):
    """`InteractionDistillMixin` for mmseg's segmentors; put it before the segmentor among the bases.

    The concepts' first entries are the classes, in the data set's order.
    """

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """The classes of an image's pixels; those beyond the bank, and what is ignored, count for nothing."""
        found = []
        for sample in data_samples:
            classes = sample.gt_sem_seg.data if 'gt_sem_seg' in sample else torch.zeros(0, dtype=torch.long)
            # What the bank does not hold falls into an extra last column.
            counts = torch.bincount(classes.flatten().clamp(max=num_concepts), minlength=num_concepts + 1)
            found.append((counts[:-1] > 0).float())
        return torch.stack(found)


@MODELS.register_module()
class LFIEncoderDecoder(SegmentorDistillMixin, EncoderDecoder):
    """mmseg's `EncoderDecoder` that learns from interactions."""
