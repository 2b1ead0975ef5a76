"""Overlaps of boxes with the semantics of mmcv's `bbox_overlaps`.

Boxes are (x1, y1, x2, y2). With an offset of 1 a box is `x2 - x1 + 1` wide, with 0 `x2 - x1`.
"""

import torch
from torch import Tensor

from .backend import widen


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write the overlaps of two sets of boxes to `ious`.

    Args:
        bboxes1: shape [M, 4].
        bboxes2: shape [N, 4]; N is M if `aligned`.
        ious: output, shape [M, N], or [M] if `aligned`.
        mode: 0 divides the intersection by the union, 1 by the area of the box of `bboxes1`. Two boxes
            without area give NaN, as mmcv's CPU op has it.
        aligned: whether to compare box m with box m only.
        offset: 0 or 1.
    """
    boxes1, boxes2 = widen(bboxes1), widen(bboxes2)
    if not aligned:
        boxes1 = boxes1[:, None]  # [M, 1, 4]
    shared = intersections(boxes1, boxes2, offset)
    base = areas(boxes1, offset)
    if mode == 0:
        base = base + areas(boxes2, offset) - shared
    ious.copy_(shared / base)


def areas(boxes: Tensor, offset: int) -> Tensor:
    """The areas of boxes, shape [..., 4] -> [...]."""
    return (boxes[..., 2:] - boxes[..., :2] + offset).prod(dim=-1)


def intersections(boxes: Tensor, others: Tensor, offset: int) -> Tensor:
    """The areas that boxes share, shapes [..., 4] that broadcast -> [...]."""
    top_left = torch.maximum(boxes[..., :2], others[..., :2])
    bottom_right = torch.minimum(boxes[..., 2:], others[..., 2:])
    return (bottom_right - top_left + offset).clamp(min=0).prod(dim=-1)
