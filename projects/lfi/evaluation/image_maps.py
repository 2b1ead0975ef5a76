"""Interaction maps of one image on its locations and pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .localization import zero_flat_maps


def fill_padding(maps: Tensor, valid: Tensor) -> Tensor:
    """Fill the padding of maps (n, H, W) with the nearest valid location; `valid` is (H, W) bool.

    The image lies at the top left. If it ends inside a location on both axes, the location at the corner may
    be invalid although its neighbours are valid.
    """
    height, width = valid.shape
    last_column = (valid.sum(1, keepdim=True) - 1).clamp_min(0)  # [H, 1]
    columns = torch.minimum(torch.arange(width), last_column)  # [H, W]
    last_row = (valid.any(1).sum() - 1).clamp_min(0)
    return maps.gather(2, columns.expand_as(maps))[:, torch.arange(height).clamp_max(last_row)]


@dataclass(frozen=True)
class ImageMaps:
    """Interaction maps and presence of student and teacher for one image, made by `lfi.InteractionMapsHook`.

    The grid of locations covers a canvas with the image at its top left. All tensors are on the CPU.

    Args:
        concepts: bank indices of the n concepts that have maps.
        student: (L, n, H, W), probabilities over locations from the supervised layers of the student.
        mirrored: (n, H, W), probabilities from the last layer for the mirrored image, mirrored back.
        teacher: (n, H, W), probabilities from the last layer of the teacher, as the loss reads them.
        presence: (C,) in [0, 1], presence from the student for all concepts of the bank, without background.
        teacher_presence: (C,) in [0, 1], presence from the teacher, before labels raise it.
        valid: (H, W) bool, locations that show the image.
        size: height and width of the image, in pixels.
        canvas: height and width of the canvas, in pixels, see `StudentGrid.canvas`.
        presence_fit: `presence_fit` of the student's read-out. Defaults to (1, 0): none.
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
    presence_fit: tuple[float, float] = (1.0, 0.0)

    def to_pixels(self, maps: Tensor) -> Tensor:
        """Resize maps over locations, (n, H, W), to the pixels of the image, (n, h, w), bilinearly.

        The padding does not affect the result. Flat maps become 0.
        """
        h, w = self.size
        maps = zero_flat_maps(fill_padding(maps, self.valid))
        return F.interpolate(maps[None], self.canvas, mode='bilinear')[0, :, :h, :w]

    def to_locations(self, pixels: Tensor) -> Tensor:
        """Average pixel values, (h, w) float, over the pixels of each location, (H, W)."""
        padding = (0, self.canvas[1] - self.size[1], 0, self.canvas[0] - self.size[0])
        padded = F.pad(torch.stack((pixels, torch.ones_like(pixels))), padding)
        height, width = self.valid.shape
        values, coverage = F.adaptive_avg_pool2d(padded, (height, width))
        return values / coverage.clamp_min(1e-6)
