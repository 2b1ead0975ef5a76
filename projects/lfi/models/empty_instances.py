"""Detection's images without annotations get empty ones, which mmdet's code asks every image for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch import nn

from .unlabelled import is_unlabelled, samples_of_training


def empty_unlabelled(data_preprocessor: nn.Module, with_mask: bool) -> None:
    """Let a data preprocessor take the annotations from images that are marked as unlabelled.

    Their instances then are as those of the labelled images, but none: mmdet pads the masks of all images
    where the first has any, and its losses read boxes and labels. It does so in training.

    Args:
        data_preprocessor: of a detector.
        with_mask: whether instances have masks, until a labelled image tells.
    """
    data_preprocessor.register_forward_pre_hook(_Empty(with_mask), with_kwargs=True)


class _Empty:
    """Does it, and knows what instances the latest labelled image had."""

    def __init__(self, with_mask: bool) -> None:
        self.with_mask = with_mask

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        samples = samples_of_training(arguments, named)
        labelled = [sample for sample in samples if not is_unlabelled(sample)]
        if labelled and 'gt_instances' in labelled[0]:
            self.with_mask = 'masks' in labelled[0].gt_instances
        for sample in samples:
            if is_unlabelled(sample):
                sample.gt_instances = _no_instances(sample, self.with_mask)
                sample.ignored_instances = _no_instances(sample, self.with_mask)


def _no_instances(sample: Any, with_mask: bool) -> InstanceData:
    none = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    if with_mask:
        height, width = sample.metainfo['img_shape'][:2]
        none.masks = BitmapMasks(np.zeros((0, height, width), np.uint8), height, width)
    return none
