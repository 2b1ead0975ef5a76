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
    """mmseg's `EncoderDecoder`, and all that inherits from it.

    In mmseg's windows (`test_cfg.mode='slide'`) learned queries read padding: nothing says where a window
    lies.
    """

    package, base = 'mmseg', 'EncoderDecoder'

    def num_classes(self, student: Any) -> int | None:
        """Those of the decode head."""
        return getattr(student, 'num_classes', None)

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """The classes of an image's pixels; those beyond the bank, and what is ignored, count for nothing."""
        found = []
        limit = num_concepts if num_classes is None else min(num_classes, num_concepts)
        for sample in data_samples:
            if 'gt_sem_seg' in sample:
                classes = sample.gt_sem_seg.data.flatten()
            else:
                classes = torch.zeros(0, dtype=torch.long, device=device)
            # What is ignored, or beyond the bank, falls into an extra column; counting would wait for a GPU.
            columns = classes.where((classes >= 0) & (classes < limit), num_concepts)
            seen = torch.zeros(num_concepts + 1, device=classes.device)
            found.append(seen.index_fill(0, columns, 1)[:-1])
        return torch.stack(found)

    def loss(
        self,
        student: Any,
        own: Callable[..., dict[str, Any]],
        view: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """As the base class."""
        return labelled_loss(
            student, own, view, data_samples, partial(_blank, device=view.inputs.device)
        ), None


def _blank(sample: Any, device: torch.device) -> Any:
    """A sample all of whose pixels are of the first class: of ignored ones alone some losses are NaN."""
    found = type(sample)(metainfo=sample.metainfo)
    for name, value in sample.items():
        # Some heads read more than classes, as PIDNet's does the edges between them.
        if name.startswith('gt_') and isinstance(value, PixelData):
            setattr(found, name, PixelData(data=torch.zeros_like(value.data)))
    if 'gt_sem_seg' not in found:
        height, width = sample.metainfo['img_shape'][:2]
        # mmseg's own setter keeps it where its property looks.
        found.gt_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.long, device=device))
    return found
