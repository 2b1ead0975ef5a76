"""Box overlaps and non-maximum suppression with the semantics of mmcv's ops of the same names."""

import numpy as np
import torch
from torch import Tensor

from .backend import torchvision_ops, widen


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy NMS.

    Args:
        boxes (Tensor): (x1, y1, x2, y2), shape [N, 4].
        scores (Tensor): shape [N].
        iou_threshold (float): a box is dropped if its IoU with a better box is above this value.
        offset (int): 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Tensor: indices of the kept boxes by descending score, int64, shape [K].
    """
    boxes = widen(boxes)
    if offset:
        # x2 + 1 in place of x2 gives the areas and intersections of offset 1.
        boxes = torch.cat((boxes[:, :2], boxes[:, 2:] + offset), dim=1)
    return torchvision_ops().nms(boxes, scores.to(boxes.dtype), _round_to_float32(iou_threshold))


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
        dets (Tensor): output, shape [N, 5]. The first K rows become (x1, y1, x2, y2, decayed score).
        iou_threshold (float): IoU at which the methods 0 and 1 start to decay a score.
        sigma (float): width of the Gaussian of method 2.
        min_score (float): a box is dropped if its score decays below this value.
        method (int): 0 naive (the score becomes 0), 1 linear, 2 gaussian.
        offset (int): 0 or 1; a box is `x2 - x1 + offset` wide.

    Returns:
        Tensor: indices of the kept boxes in the order of selection, int64, shape [K].
    """
    boxes, scores = widen(boxes), widen(scores).clone()
    sizes = areas(boxes, offset)
    candidates = torch.arange(len(boxes), device=boxes.device)
    selected = []
    while candidates.numel():
        best = _first_best(scores[candidates])
        index = int(candidates[best])
        selected.append(index)
        candidates[best] = candidates[0].clone()
        candidates = candidates[1:]
        overlaps = _ious(boxes[index], sizes[index], boxes[candidates], sizes[candidates], offset)
        scores[candidates] *= _decay(overlaps, _round_to_float32(iou_threshold), sigma, method)
        candidates = _drop(candidates, scores[candidates] < _round_to_float32(min_score))
    indices = torch.tensor(selected, dtype=torch.long, device=boxes.device)
    dets[: len(selected)] = torch.cat((boxes[indices], scores[indices, None]), dim=1)
    return indices


def _round_to_float32(value: float) -> float:
    """Round a threshold to float32, the type of mmcv's thresholds, which decides ties."""
    return float(np.float32(value))


def _ious(box: Tensor, area: Tensor, other_boxes: Tensor, other_areas: Tensor, offset: int) -> Tensor:
    """Return the IoU of a box, shape [4], with other boxes, shape [M, 4]; shape [M]."""
    shared = intersections(box, other_boxes, offset)
    return shared / (area + other_areas - shared)


def _decay(overlaps: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    """Return the factors that decay the scores of boxes with these IoUs, shape [M]."""
    if method == 2:
        return torch.exp(-(overlaps * overlaps) / sigma)
    weights = 1 - overlaps if method == 1 else torch.zeros_like(overlaps)
    return torch.where(overlaps >= iou_threshold, weights, torch.ones_like(overlaps))


def _first_best(scores: Tensor) -> int:
    """Return the index of the first maximum, with the result of mmcv's `<` loop for NaNs.

    The IoU of two boxes without area is NaN, which the gaussian method passes on to the scores.
    """
    nan = scores.isnan()
    return 0 if nan[0] else int(scores.masked_fill(nan, -torch.inf).argmax())


def _drop(candidates: Tensor, dropped: Tensor) -> Tensor:
    """Remove dropped candidates, and fill their places from the end of the list.

    mmcv compacts its list this way. The order decides which of two boxes with equal scores comes first.
    """
    count = len(candidates) - int(dropped.sum())
    remaining = candidates[:count].clone()
    remaining[dropped[:count]] = candidates[count:][~dropped[count:]].flip(0)
    return remaining


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write the overlaps of two sets of boxes to `ious`.

    Args:
        bboxes1: (x1, y1, x2, y2), shape [M, 4].
        bboxes2: (x1, y1, x2, y2), shape [N, 4]; N is M if `aligned`.
        ious: output, shape [M, N], or [M] if `aligned`.
        mode: 0 divides the intersection by the union, 1 by the area of the box of `bboxes1`. Two boxes
            without area give NaN, as in mmcv's CPU op.
        aligned: whether to compare box m with box m only.
        offset: 0 or 1; a box is `x2 - x1 + offset` wide.
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
    """Return the areas of boxes, shape [..., 4] -> [...]."""
    return (boxes[..., 2:] - boxes[..., :2] + offset).prod(dim=-1)


def intersections(boxes: Tensor, other_boxes: Tensor, offset: int) -> Tensor:
    """Return the intersection areas of boxes, broadcastable shapes [..., 4] -> [...]."""
    top_left = torch.maximum(boxes[..., :2], other_boxes[..., :2])
    bottom_right = torch.minimum(boxes[..., 2:], other_boxes[..., 2:])
    return (bottom_right - top_left + offset).clamp(min=0).prod(dim=-1)
