"""How far an exported graph gives what the student gives in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .graph_ops import paste_masks
from .inference_graph import relative_difference


@dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Args:
        value: The largest difference of a value, over the largest value.
        pixels: The share of pixels whose label is the same.
        box: The largest difference of a box's corner, over the longer side of the image.
        score: The largest difference of a detection's score.
        mask: The pixels in which masks differ, over those of the box.
        detections: The share of detections that are the same in all of these.
    """

    value: float
    pixels: float
    box: float
    score: float
    mask: float
    detections: float


FLOAT32 = Tolerance(value=1e-4, pixels=0.999, box=1e-4, score=1e-4, mask=0.02, detections=0.99)
FLOAT16 = Tolerance(value=2e-2, pixels=0.98, box=1e-2, score=2e-2, mask=0.1, detections=0.9)


class Detected(NamedTuple):
    """What was found in one image.

    Args:
        boxes: (N, 4) x1 y1 x2 y2 in pixels.
        scores: (N,).
        labels: (N,) int64.
        masks: (N, H, W) bool, or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


class Agreement(NamedTuple):
    """The return value of `output_agreement` and `detector_agreement`.

    Args:
        same: How many detections are the same; 1 or 0 for other outputs.
        compared: How many detections there were; 1 for other outputs.
        needed: The share of them that must be the same.
        lines: What was found, in words.
    """

    same: int
    compared: int
    needed: float
    lines: list[str]

    @property
    def holds(self) -> bool:
        """Whether the outputs are the same."""
        return self.same >= self.needed * self.compared


def together(agreements: Sequence[Agreement]) -> Agreement:
    """One agreement of several batches: a share of their detections, not of those of each batch."""
    return Agreement(
        sum(each.same for each in agreements),
        sum(each.compared for each in agreements),
        agreements[0].needed,
        [line for each in agreements for line in each.lines],
    )


def output_agreement(
    names: Sequence[str], found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: Tolerance
) -> Agreement:
    """Compare the outputs of a graph with those of PyTorch, but for those of detectors.

    Args:
        names: Of the outputs.
        found: Those of the export.
        expected: Those of PyTorch. Whole numbers are labels.
        tolerance: What counts as the same.

    Raises:
        ValueError: As for `relative_difference`.
    """
    holds, lines = True, []
    for name, its, own in zip(names, found, expected, strict=True):
        shown = f'{name} {tuple(own.shape)}'
        if own.is_floating_point():
            difference = relative_difference(its, own)
            holds &= difference <= tolerance.value
            lines.append(f'{shown}: largest difference {difference:.1e} of the largest value')
            if not its.isfinite().all():
                lines[-1] = f'{shown}: values that are not finite'
        else:
            share = (its == own).double().mean().item()
            holds &= share >= tolerance.pixels
            lines.append(f'{shown}: {share:.2%} are the same')
    return Agreement(int(holds), 1, 1.0, lines)


def detector_agreement(
    found: Sequence[Detected], expected: Sequence[Detected], side: int, tolerance: Tolerance
) -> Agreement:
    """Compare detections, image by image, in whatever order each has them.

    Args:
        found: Those of the export.
        expected: Those of PyTorch.
        side: The longer side of the images, in pixels.
        tolerance: What counts as the same.
    """
    pairs = [
        pair for its, own in zip(found, expected, strict=True) for pair in same(its, own, side, tolerance)
    ]
    compared = max(sum(len(image.scores) for image in images) for images in (found, expected))
    line = f'detections in {len(expected)} images: {len(pairs)} of {compared} are the same'
    if pairs:
        box, score, mask = (max(values) for values in zip(*pairs))
        line += f', boxes within {box:.1e} pixels, scores within {score:.1e}'
        line += '' if expected[0].masks is None else f', masks but for {mask:.2%} of the box'
    return Agreement(len(pairs), compared, tolerance.detections, [line])


def same(
    found: Detected, expected: Detected, side: int, tolerance: Tolerance
) -> list[tuple[float, float, float]]:
    """The detections of one image that are in both: the differences of box, score and mask."""
    pairs = []
    boxes = (found.boxes[:, None] - expected.boxes).abs().amax(-1)
    scores = (found.scores[:, None] - expected.scores).abs()
    equal = found.labels[:, None] == expected.labels
    near = equal & (boxes <= tolerance.box * side) & (scores <= tolerance.score)
    for own in range(len(expected.scores)):
        candidates = near[:, own].nonzero().flatten()
        if not len(candidates):
            continue
        its = candidates[boxes[candidates, own].argmin()]
        other = 0.0
        if found.masks is not None and expected.masks is not None:
            width, height = (expected.boxes[own, 2:] - expected.boxes[own, :2]).clamp(min=1).tolist()
            other = (found.masks[its] ^ expected.masks[own]).sum().item() / (width * height)
        if other <= tolerance.mask:
            near[its] = False
            pairs.append((boxes[its, own].item(), scores[its, own].item(), other))
    return pairs


def detected(outputs: Sequence[Tensor], size: Sequence[int], mask_thr: float) -> list[Detected]:
    """The outputs of a detector's graph, image by image, without rows that hold nothing.

    Args:
        outputs: Boxes, scores, labels and perhaps masks, as of `Detections`.
        size: Height and width of the images in pixels.
        mask_thr: Where masks of boxes are cut.
    """
    images = []
    for boxes, scores, labels, *masks in zip(*outputs):
        known = labels >= 0
        its = masks[0][known] if masks else None
        if its is not None and its.dtype != torch.bool:
            its = paste_masks(its, boxes[known], size) >= mask_thr
        images.append(Detected(boxes[known], scores[known], labels[known], its))
    return images


@torch.no_grad()
def predicted(detector: nn.Module, images: Tensor) -> list[Detected]:
    """What a detector of mmdet predicts for unpadded images, in their own pixels.

    Args:
        detector: The detector.
        images: Normalised images, (B, 3, H, W).
    """
    from mmdet.structures import DetDataSample

    size = tuple(images.shape[-2:])
    known = dict(img_shape=size, ori_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
    model: Any = detector
    samples = model.predict(images, [DetDataSample(metainfo=known) for _ in images], rescale=False)
    found = (sample.pred_instances for sample in samples)
    return [Detected(each.bboxes, each.scores, each.labels, each.get('masks')) for each in found]
