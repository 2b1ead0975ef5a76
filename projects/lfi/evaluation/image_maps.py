"""Where student and teacher look for the concepts of one image, and which of them they find."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .localization import level


def without_padding(maps: Tensor, valid: Tensor) -> Tensor:
    """Maps (n, H, W) whose last valid locations go on into the padding; valid is (H, W) bool.

    The image lies at the top left. Where it ends within a location of either axis, the one at the corner may
    show too little of it, and the others not.
    """
    height, width = valid.shape
    last_column = (valid.sum(1, keepdim=True) - 1).clamp_min(0)  # [H, 1]
    columns = torch.minimum(torch.arange(width), last_column)  # [H, W]
    last_row = (valid.any(1).sum() - 1).clamp_min(0)
    return maps.gather(2, columns.expand_as(maps))[:, torch.arange(height).clamp_max(last_row)]


@dataclass(frozen=True)
class ImageMaps:
    """What student and teacher answer about one image, on the CPU; `lfi.InteractionMapsHook` makes it.

    The locations cover a canvas of pixels, at whose top left the image lies.

    Args:
        concepts: the indices in the bank of the n concepts that have maps.
        student: (L, n, H, W), the probabilities over locations at each of the student's supervised layers.
        mirrored: (n, H, W), the last layer's for the mirrored image, mirrored back.
        teacher: (n, H, W), the teacher's last layer's, as the loss over locations reads it.
        presence: (C,) in [0, 1], the student's, of all concepts of the bank, the background left out.
        teacher_presence: (C,) in [0, 1], the teacher's, as the student learns from it, but for labels.
        valid: (H, W) bool, the locations that show the image.
        size: height and width of the image in pixels.
        canvas: height and width in pixels of `StudentGrid.canvas`.
    """

    concepts: list[int]
    student: Tensor
    mirrored: Tensor
    teacher: Tensor
    presence: Tensor
    teacher_presence: Tensor
    valid: Tensor
    size: tuple[int, int]
    canvas: tuple[int, int]

    def on_pixels(self, maps: Tensor) -> Tensor:
        """Maps (n, H, W) over locations, laid over the image bilinearly, (n, h, w).

        Beyond the image they go on as they end: what it was batched with does not count. Flat ones are 0.
        """
        h, w = self.size
        maps = level(without_padding(maps, self.valid))
        return F.interpolate(maps[None], self.canvas, mode='bilinear')[0, :, :h, :w]

    def on_locations(self, pixels: Tensor) -> Tensor:
        """Values of the image's pixels, (h, w) float, averaged over each location, (H, W)."""
        padding = (0, self.canvas[1] - self.size[1], 0, self.canvas[0] - self.size[0])
        both = F.pad(torch.stack((pixels, torch.ones_like(pixels))), padding)
        height, width = self.valid.shape
        total, filled = F.adaptive_avg_pool2d(both, (height, width))
        return total / filled.clamp_min(1e-6)
