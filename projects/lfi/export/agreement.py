"""Agreement of an exported graph's outputs with those of the student in PyTorch."""

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
    """Limits within which two outputs count as equal.

    Args:
        value: largest difference of a value, as a share of the largest value.
        pixels: least share of pixels with the same label.
        box: largest difference of a box's corner, as a share of the image's longer side.
        score: largest difference of a detection's score.
        mask: largest number of pixels in which two masks differ, as a share of the box's area.
        detections: least share of detections that match within all of these limits.
    """

    value: float
    pixels: float
    box: float
    score: float
    mask: float
    detections: float


FLOAT32 = Tolerance(value=1e-4, pixels=0.999, box=1e-4, score=1e-4, mask=0.02, detections=0.99)
FLOAT16 = Tolerance(value=2e-2, pixels=0.98, box=1e-2, score=2e-2, mask=0.1, detections=0.9)


class Detections(NamedTuple):
    """Detections of one image.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        labels: (N,), int64.
        masks: (N, H, W), bool; or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


class Agreement(NamedTuple):
    """Result of `output_agreement` and `detector_agreement`.

    Args:
        matched: number of detections that match; 1 or 0 for other outputs.
        compared: number of detections; 1 for other outputs.
        min_share: share of the detections that must match.
        lines: messages about each output.
    """

    matched: int
    compared: int
    min_share: float
    lines: list[str]

    @property
    def holds(self) -> bool:
        """Whether enough of the outputs match."""
        return self.matched >= self.min_share * self.compared


def merge_agreements(agreements: Sequence[Agreement]) -> Agreement:
    """Merge the agreements of batches. `min_share` then holds for all their detections together."""
    return Agreement(
        sum(agreement.matched for agreement in agreements),
        sum(agreement.compared for agreement in agreements),
        agreements[0].min_share,
        [line for agreement in agreements for line in agreement.lines],
    )


def output_agreement(
    names: Sequence[str], outputs: Sequence[Tensor], expected: Sequence[Tensor], tolerance: Tolerance
) -> Agreement:
    """Compare the outputs of a graph with those of PyTorch. For detections, see `detector_agreement`.

    Args:
        names: names of the outputs.
        outputs: outputs of the export.
        expected: outputs of PyTorch; integers are labels.
        tolerance: limits of the differences.

    Raises:
        ValueError: if the shapes of an output differ.
    """
    holds, lines = True, []
    for name, output, reference in zip(names, outputs, expected, strict=True):
        label = f'{name} {tuple(reference.shape)}'
        if reference.is_floating_point():
            difference = relative_difference(output, reference)
            holds &= difference <= tolerance.value
            lines.append(f'{label}: largest difference {difference:.1e} of the largest value')
            if not output.isfinite().all():
                lines[-1] = f'{label}: values that are not finite'
        else:
            share = (output == reference).double().mean().item()
            holds &= share >= tolerance.pixels
            lines.append(f'{label}: {share:.2%} are the same')
    return Agreement(int(holds), 1, 1.0, lines)


def detector_agreement(
    detections: Sequence[Detections], expected: Sequence[Detections], side: int, tolerance: Tolerance
) -> Agreement:
    """Compare detections image by image, in any order within an image.

    Args:
        detections: detections of the export.
        expected: detections of PyTorch.
        side: longer side of the images, in pixels.
        tolerance: limits of the differences.
    """
    differences = [
        difference
        for image, reference in zip(detections, expected, strict=True)
        for difference in match_detections(image, reference, side, tolerance)
    ]
    compared = max(sum(len(image.scores) for image in images) for images in (detections, expected))
    line = f'detections in {len(expected)} images: {len(differences)} of {compared} are the same'
    if differences:
        box, score, mask = (max(values) for values in zip(*differences))
        line += f', boxes within {box:.1e} pixels, scores within {score:.1e}'
        line += '' if expected[0].masks is None else f', masks within {mask:.2%} of the box'
    return Agreement(len(differences), compared, tolerance.detections, [line])


def match_detections(
    detections: Detections, expected: Detections, side: int, tolerance: Tolerance
) -> list[tuple[float, float, float]]:
    """Match the detections of one image; return the differences of box, score and mask for each match."""
    differences = []
    box_differences = (detections.boxes[:, None] - expected.boxes).abs().amax(-1)
    score_differences = (detections.scores[:, None] - expected.scores).abs()
    same_label = detections.labels[:, None] == expected.labels
    close = (box_differences <= tolerance.box * side) & (score_differences <= tolerance.score)
    matches = same_label & close
    for target in range(len(expected.scores)):
        candidates = matches[:, target].nonzero().flatten()
        if not len(candidates):
            continue
        match = candidates[box_differences[candidates, target].argmin()]
        mask = 0.0
        if detections.masks is not None and expected.masks is not None:
            width, height = (expected.boxes[target, 2:] - expected.boxes[target, :2]).clamp(min=1).tolist()
            mask = (detections.masks[match] ^ expected.masks[target]).sum().item() / (width * height)
        if mask <= tolerance.mask:
            matches[match] = False
            box, score = box_differences[match, target].item(), score_differences[match, target].item()
            differences.append((box, score, mask))
    return differences


def split_detections(outputs: Sequence[Tensor], size: Sequence[int], mask_thr: float) -> list[Detections]:
    """Split the outputs of a detector's graph by image, without the padding rows.

    Args:
        outputs: outputs of `DetectorGraph`: boxes, scores, labels and, of a detector with masks, masks.
        size: height and width of the images, in pixels.
        mask_thr: threshold for masks that are given within their boxes, after they are pasted into the image.
    """
    images = []
    for boxes, scores, labels, *masks in zip(*outputs):
        valid = labels >= 0
        mask = masks[0][valid] if masks else None
        if mask is not None and mask.dtype != torch.bool:
            mask = paste_masks(mask, boxes[valid], size) >= mask_thr
        images.append(Detections(boxes[valid], scores[valid], labels[valid], mask))
    return images


@torch.no_grad()
def predict_detections(detector: nn.Module, images: Tensor) -> list[Detections]:
    """Run the `predict` of a detector of mmdet on unpadded images; boxes are in the images' own pixels.

    Args:
        detector: detector of mmdet.
        images: (B, 3, H, W), normalised images.
    """
    from mmdet.structures import DetDataSample

    size = tuple(images.shape[-2:])
    metainfo = dict(img_shape=size, ori_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
    model: Any = detector
    samples = model.predict(images, [DetDataSample(metainfo=metainfo) for _ in images], rescale=False)
    instances = (sample.pred_instances for sample in samples)
    return [Detections(i.bboxes, i.scores, i.labels, i.get('masks')) for i in instances]
