"""Operators of exported graphs: NMS, pasting of masks, and floating-point types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

IGNORED = -1.0
"""Score of a row that is not a candidate."""
# Lies between `IGNORED` and 0, the least score of a candidate.
THRESHOLD = -0.5


@torch.library.custom_op('lfi::nms_mask', mutates_args=())
def nms_mask(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
    """Greedy NMS within each image.

    Args:
        boxes: (B, N, 4), x1 y1 x2 y2.
        scores: (B, N); rows below 0 are not candidates.
        iou_threshold: IoU with a better box above which a box is dropped.
        count: largest number of boxes to keep in an image, by score.

    Returns:
        (B, N), bool, mask of the kept boxes.
    """
    from torchvision.ops import nms

    mask = torch.zeros_like(scores, dtype=torch.bool)
    for image_mask, image_boxes, image_scores in zip(mask, boxes, scores):
        candidates = (image_scores > THRESHOLD).nonzero().flatten()
        best = nms(image_boxes[candidates], image_scores[candidates], iou_threshold)
        image_mask[candidates[best[:count]]] = True
    return mask


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def onnx_translations() -> dict[Callable, Callable]:
    """Translation table for `torch.onnx.export`, from `nms_mask` to ONNX's NonMaxSuppression."""
    from onnxscript import opset18

    # Type checkers cannot know onnxscript's values, which depend on the graph.
    op: Any = opset18

    def translate(boxes: Any, scores: Any, iou_threshold: float, count: int) -> Any:
        # (K, 3): image, class (always 0) and box.
        selected = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[count]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[THRESHOLD]),
        )
        indices = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)
        ones = op.Expand(op.Constant(value_floats=[1.0]), op.Shape(indices, end=1))
        zeros = op.Mul(scores, op.Constant(value_float=0.0))
        return op.Greater(op.ScatterND(zeros, indices, ones), op.Constant(value_float=0.5))

    return {torch.ops.lfi.nms_mask.default: translate}


def paste_masks(masks: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks bilinearly to their boxes, and paste them into images of zeros.

    Computes mmdet's `_do_paste_mask` as two matrix products, which any runtime supports.

    Args:
        masks: (..., h, w), masks of boxes.
        boxes: (..., 4), x1 y1 x2 y2 in pixels.
        size: height H and width W of the images, in pixels.

    Returns:
        (..., H, W), masks of the images.
    """
    weights = [
        _interpolation_weights(pixels, cells, boxes[..., axis], boxes[..., axis + 2])
        for pixels, cells, axis in zip(size, masks.shape[-2:], (1, 0))
    ]
    return weights[0] @ masks @ weights[1].transpose(-1, -2)


def _interpolation_weights(pixels: int, cells: int, begin: Tensor, end: Tensor) -> Tensor:
    """Bilinear weights from a mask's cells to pixels along one axis, (..., pixels, cells)."""
    centres = torch.arange(pixels, device=begin.device) + 0.5
    side = (end - begin).clamp(min=1e-6)[..., None]
    # Unit: cells of the mask, with cell centres at integers.
    positions = (centres - begin[..., None]) / side * cells - 0.5
    distances = (positions[..., None] - torch.arange(cells, device=begin.device)).abs()
    return (1 - distances).clamp(min=0)


def to_weights_dtype(module: nn.Module, images: Tensor) -> Tensor:
    """Cast images to the floating-point type of a module's weights."""
    return images.to(next(module.parameters()).dtype)
