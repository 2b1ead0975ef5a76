"""Masks of boxes, pasted into images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def paste_masks(masks: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks to their boxes, bilinearly, and put them into images; beyond a box there is 0.

    It is mmdet's `_do_paste_mask` as two matrix products, which any runtime has.

    Args:
        masks: (..., h, w).
        boxes: (..., 4) x1 y1 x2 y2 in pixels.
        size: Height and width of the images, H and W.

    Returns:
        (..., H, W).
    """
    weights = [
        _weights(pixels, cells, boxes[..., axis], boxes[..., axis + 2])
        for pixels, cells, axis in zip(size, masks.shape[-2:], (1, 0))
    ]
    return weights[0] @ masks @ weights[1].transpose(-1, -2)


def _weights(pixels: int, cells: int, begin: Tensor, end: Tensor) -> Tensor:
    """How much of each of a mask's cells is in each pixel along an axis, (..., pixels, cells)."""
    centres = torch.arange(pixels, device=begin.device) + 0.5
    side = (end - begin).clamp(min=1e-6)[..., None]
    # In cells of the mask, whose own centres are whole numbers.
    places = (centres - begin[..., None]) / side * cells - 0.5
    distances = (places[..., None] - torch.arange(cells, device=begin.device)).abs()
    return (1 - distances).clamp(min=0)
