"""Operators of exported graphs: NMS, masks on their images, and floating types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

IGNORED = -1.0
"""The score of what is no candidate."""
# Between the score of what is ignored and the least score of a candidate, 0.
THRESHOLD = -0.5


@torch.library.custom_op('lfi::nms_mask', mutates_args=())
def nms_mask(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
    """Greedy NMS of each image by itself.

    Args:
        boxes: (B, N, 4) x1 y1 x2 y2.
        scores: (B, N); those below 0 are no candidates.
        iou_threshold: A box is dropped if its IoU with a better one is above this.
        count: The most boxes that an image keeps, the best ones.

    Returns:
        (B, N) bool, the boxes that are kept.
    """
    from torchvision.ops import nms

    kept = torch.zeros_like(scores, dtype=torch.bool)
    for row, its, values in zip(kept, boxes, scores):
        candidates = (values > THRESHOLD).nonzero().flatten()
        best = nms(its[candidates], values[candidates], iou_threshold)
        row[candidates[best[:count]]] = True
    return kept


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def onnx_translations() -> dict[Callable, Callable]:
    """For `torch.onnx.export(custom_translation_table=...)`: `nms_mask` as ONNX's NonMaxSuppression."""
    from onnxscript import opset18

    # Its values are typed by what they hold, which only a graph knows.
    op: Any = opset18

    def translated(boxes: Any, scores: Any, iou_threshold: float, count: int) -> Any:
        # (K, 3): image, class (there is one) and box.
        kept = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[count]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[THRESHOLD]),
        )
        places = op.Gather(kept, op.Constant(value_ints=[0, 2]), axis=1)
        ones = op.Expand(op.Constant(value_floats=[1.0]), op.Shape(places, end=1))
        zeros = op.Mul(scores, op.Constant(value_float=0.0))
        return op.Greater(op.ScatterND(zeros, places, ones), op.Constant(value_float=0.5))

    return {torch.ops.lfi.nms_mask.default: translated}


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


def in_type_of(module: nn.Module, images: Tensor) -> Tensor:
    """Images in the floating type of a module's weights."""
    return images.to(next(module.parameters()).dtype)
