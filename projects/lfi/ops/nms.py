"""Overlaps of boxes and non-maximum suppression with the semantics of mmcv's ops of these names."""

import numpy as np
import torch
from torch import Tensor

from .backend import torchvision_ops, widen


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy NMS.

    Args:
        boxes (Tensor): (x1, y1, x2, y2), shape [N, 4].
        scores (Tensor): shape [N].
        iou_threshold (float): a box is dropped if its IoU with a better one is above this.
        offset (int): 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Tensor: indices of the kept boxes by descending score, int64, shape [K].
    """
    boxes = widen(boxes)
    if offset:
        # x2 + 1 in place of x2 makes areas and intersections those of offset 1.
        boxes = torch.cat((boxes[:, :2], boxes[:, 2:] + offset), dim=1)
    return torchvision_ops().nms(boxes, scores.to(boxes.dtype), _as_float32(iou_threshold))


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS.

    Args:
        boxes (Tensor): (x1, y1, x2, y2), shape [N, 4].
        scores (Tensor): shape [N].
        dets (Tensor): output, shape [N, 5]; the first K rows become (x1, y1, x2, y2, decayed score).
        iou_threshold (float): IoU from which the methods 0 and 1 decay a score.
        sigma (float): width of method 2.
        min_score (float): a box is dropped once its score has decayed below this.
        method (int): 0 naive (the score becomes 0), 1 linear, 2 gaussian.
        offset (int): 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Tensor: indices of the kept boxes in the order in which they were chosen, int64, shape [K].
    """
    boxes, scores = widen(boxes), widen(scores).clone()
    sizes = areas(boxes, offset)
    rest = torch.arange(len(boxes), device=boxes.device)
    chosen = []
    while rest.numel():
        best = _first_best(scores[rest])
        chosen.append(int(rest[best]))
        rest[best] = rest[0].clone()
        rest = rest[1:]
        overlaps = _ious(boxes[chosen[-1]], sizes[chosen[-1]], boxes[rest], sizes[rest], offset)
        scores[rest] *= _decay(overlaps, _as_float32(iou_threshold), sigma, method)
        rest = _drop(rest, scores[rest] < _as_float32(min_score))
    indices = torch.tensor(chosen, dtype=torch.long, device=boxes.device)
    dets[: len(chosen)] = torch.cat((boxes[indices], scores[indices, None]), dim=1)
    return indices


def _as_float32(value: float) -> float:
    """The nearest float32: mmcv compares with thresholds of that type, which decides ties."""
    return float(np.float32(value))


def _ious(box: Tensor, area: Tensor, others: Tensor, other_areas: Tensor, offset: int) -> Tensor:
    """IoU of one box, shape [4], with others, shape [M, 4]; shape [M]."""
    shared = intersections(box, others, offset)
    return shared / (area + other_areas - shared)


def _decay(overlaps: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    """Factors for the scores of boxes with these IoUs, shape [M]."""
    if method == 2:
        return torch.exp(-(overlaps * overlaps) / sigma)
    weights = 1 - overlaps if method == 1 else torch.zeros_like(overlaps)
    return torch.where(overlaps >= iou_threshold, weights, torch.ones_like(overlaps))


def _first_best(scores: Tensor) -> int:
    """Index of the first maximum; among NaNs, as mmcv's loop of `<` finds it.

    The IoU of two boxes without area is NaN, and the gaussian method makes it a score.
    """
    nan = scores.isnan()
    return 0 if nan[0] else int(scores.masked_fill(nan, -torch.inf).argmax())


def _drop(rest: Tensor, dropped: Tensor) -> Tensor:
    """The candidates without the dropped ones; holes are filled from the end.

    mmcv compacts its list this way, and of boxes with equal scores it takes the first in the list.
    """
    count = len(rest) - int(dropped.sum())
    kept = rest[:count].clone()
    kept[dropped[:count]] = rest[count:][~dropped[count:]].flip(0)
    return kept


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
