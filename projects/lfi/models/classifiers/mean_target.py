"""Negative control: the data set's mean maps in place of each image's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lfi.models.losses.running_mean import RunningMean
from lfi.registry import MODELS
from lfi.structures import InteractionMaps

from .lfi_image_classifier import LFIImageClassifier


@MODELS.register_module()
class MeanTargetClassifier(LFIImageClassifier):
    """`LFIImageClassifier` that learns one map for each concept, whatever the image.

    What helps here is not image-specific, but for presence and labels, which stay with their images. What is
    read over locations is the concept's mean map over all views so far, by its presence in each: the constant
    that is nearest to the images' own maps, as the loss weighs them. What is read over concepts is the mean
    of the scores over all views so far that were asked about the concept. The views of this batch count.

    Checkpoints keep the means. All images must have one size. What the student is measured by afterwards are
    the teacher's own maps.

    Args:
        *args: of `LFIImageClassifier`.
        **kwargs: of `LFIImageClassifier`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mean_positions = RunningMean()
        self.mean_scores = RunningMean()

    def _read(self, maps: InteractionMaps, labels: Tensor) -> InteractionMaps:
        # After the reading: presence is read from the image's own maps.
        maps = super()._read(maps, labels)
        return self.change(maps) if self.training else maps

    def change(self, maps: InteractionMaps) -> InteractionMaps:
        """The mean maps of each image's concepts, this batch's counted; `REST` has a mean of its own."""
        chosen = _one_hot(maps, self.teacher.bank.num_concepts)  # [B, M, C + 1]
        positions = maps.logits if maps.positions is None else maps.positions
        with torch.autocast(positions.device.type, enabled=False):
            present = maps.presence[..., None] * chosen
            return replace(
                maps,
                logits=_mean_of(maps.logits, maps.valid, chosen, chosen, self.mean_scores),
                positions=_mean_of(positions, maps.valid, present, chosen, self.mean_positions),
            )


def _one_hot(maps: InteractionMaps, num_concepts: int) -> Tensor:
    """Which concept each map is of, (B, M, C + 1); `REST` is the last."""
    concepts = maps.concepts
    if concepts is None:
        concepts = torch.arange(num_concepts, device=maps.logits.device).expand(len(maps.logits), -1)
    # Remainders put REST, which is -1, behind the others. `F.one_hot` would wait for the device.
    every = torch.arange(num_concepts + 1, device=concepts.device)
    return (concepts.remainder(num_concepts + 1)[..., None] == every).float()


def _mean_of(scores: Tensor, valid: Tensor, weight: Tensor, chosen: Tensor, mean: RunningMean) -> Tensor:
    """Add maps to the means of their concepts, and read the means out, (B, L, M, H, W).

    Args:
        scores: (B, L, M, H, W).
        valid: (B, H, W) bool.
        weight: (B, M, C + 1), of each map in the mean of each concept.
        chosen: (B, M, C + 1), the concept of each map.
        mean: of the concepts, (L, C + 1, H, W).
    """
    seen = valid.float()
    mean.add(
        torch.einsum('bmc,blmhw,bhw->lchw', weight, scores.float(), seen),
        torch.einsum('bmc,bhw->chw', weight, seen),
    )
    return torch.einsum('bmc,lchw->blmhw', chosen, mean.mean)
