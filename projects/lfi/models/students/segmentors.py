"""Segmentors that learn from interactions. Needs mmseg; `lfi.models` does not import it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from lfi.registry import MODELS

from .distill import InteractionDistillMixin
from .student import AnyTask, StudentMixin
from .unlabelled import LabelledTaskMixin


class LabelledSegmentorMixin(LabelledTaskMixin):
    """`LabelledTaskMixin` for mmseg's segmentors."""

    def blank(self, sample: Any) -> Any:
        """A sample all of whose pixels are of the first class: of ignored ones alone some losses are NaN."""
        found = type(sample)(metainfo=sample.metainfo)
        for name, value in sample.items():
            # Some heads read more than classes, as PIDNet's does the edges between them.
            if name.startswith('gt_') and isinstance(value, PixelData):
                setattr(found, name, PixelData(data=torch.zeros_like(value.data)))
        if 'gt_sem_seg' not in found:
            height, width = sample.metainfo['img_shape'][:2]
            # mmseg's own setter keeps it where its property looks.
            found.gt_sem_seg = PixelData(
                data=torch.zeros(1, height, width, dtype=torch.long, device=self._device())
            )
        return found

    def _device(self) -> torch.device:
        return next(self.parameters()).device


class SegmentorDistillMixin(InteractionDistillMixin, LabelledSegmentorMixin):
    """`InteractionDistillMixin` for mmseg's segmentors; put it before the segmentor among the bases.

    The concepts' first entries are the classes, in the data set's order. Images without labels learn from
    interactions and from the prior, as `LabelledTaskMixin` says.
    """

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """The classes of an image's pixels; those beyond the bank, and what is ignored, count for nothing."""
        found = []
        limit = min(getattr(self, 'num_classes', num_concepts), num_concepts)
        for sample in data_samples:
            if 'gt_sem_seg' in sample:
                classes = sample.gt_sem_seg.data.flatten()
            else:
                classes = torch.zeros(0, dtype=torch.long, device=self._device())
            # What is ignored, or beyond the bank, falls into an extra column; counting would wait for a GPU.
            columns = classes.where((classes >= 0) & (classes < limit), num_concepts)
            seen = torch.zeros(num_concepts + 1, device=classes.device)
            found.append(seen.index_fill(0, columns, 1)[:-1])
        return torch.stack(found)


@MODELS.register_module()
class LFIEncoderDecoder(SegmentorDistillMixin, EncoderDecoder):
    """mmseg's `EncoderDecoder` that learns from interactions."""


@MODELS.register_module()
class LFISegmentor(AnyTask, SegmentorDistillMixin):
    """Any segmentor of mmseg with a decode head that learns from interactions, by a config alone.

    `dict(type='lfi.LFISegmentor', task='mmseg.CascadeEncoderDecoder', backbone=..., teacher=...)` builds an
    `LFICascadeEncoderDecoder`, with `SegmentorDistillMixin` before the segmentor's own class.

    Args:
        task: the type of mmseg's segmentor.
        **arguments: of the segmentor, and of `InteractionDistillMixin`.

    Raises:
        TypeError, ValueError: as `InteractionDistillMixin` and `with_mixin` say.
    """

    prefix, mixin = 'LFI', SegmentorDistillMixin


class PriorSegmentorMixin(StudentMixin, LabelledSegmentorMixin):
    """The option `affinity_prior` for mmseg's segmentors, without a teacher.

    As for LFI the backbone is an `InteractionQueryViT`, by default a plain ViT. Images without
    labels take part in the prior alone.
    """


@MODELS.register_module()
class PriorSegmentor(AnyTask, PriorSegmentorMixin):
    """Any segmentor of mmseg with the prior, by a config alone: what an `LFISegmentor` compares with.

    Args:
        task: the type of mmseg's segmentor.
        **arguments: of the segmentor, and of `StudentMixin`.

    Raises:
        TypeError, ValueError: as `StudentMixin` and `with_mixin` say.
    """

    prefix, mixin = 'Prior', PriorSegmentorMixin
