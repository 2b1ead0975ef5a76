"""Detectors of mmdet as graphs, from images to what they find. Needs mmdet.

All shapes are known before an image is seen, as TensorRT wants them and a batch needs them: an image has as
many rows as its detector finds at most, and those beyond what is found have the score 0 and the label -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.config import ConfigDict
from torch import Tensor, nn

from .graph_ops import IGNORED, in_type_of, nms_mask, paste_masks

# What of a head is written anew here.
PREDICTING = (
    'predict',
    'predict_by_feat',
    '_predict_by_feat_single',
    '_bbox_post_process',
    'predict_bbox',
    'predict_mask',
    '_bbox_forward',
    '_mask_forward',
)
# Settings of NMS that are known here, or change no result.
NMS = {'type', 'iou_threshold', 'split_thr'}


class Found(NamedTuple):
    """N boxes of each image.

    Args:
        boxes: (B, N, 4) x1 y1 x2 y2 in pixels of the input.
        scores: (B, N); `IGNORED` is no box.
        labels: (B, N) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Detections(nn.Module):
    """A detector with all that comes after its heads.

    Args:
        detector: One of mmdet that `refusal` does not refuse.
        box_masks: Give the masks of the boxes, and not those of the image.
    """

    def __init__(self, detector: nn.Module, box_masks: bool = False) -> None:
        super().__init__()
        self.detector = detector
        self.box_masks = box_masks

    @property
    def names(self) -> list[str]:
        """Of the outputs."""
        with_mask = isinstance(self.detector, TwoStageDetector) and self.detector.roi_head.with_mask
        return ['boxes', 'scores', 'labels', *(['masks'] if with_mask else [])]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From normalised images (B, 3, H, W) to boxes (B, N, 4), scores (B, N), labels (B, N) and masks.

        Masks are (B, N, H, W) bool, or with `box_masks` (B, N, h, w) in [0, 1], to be cut at the model's
        `mask_thr_binary`.
        """
        detector: Any = self.detector
        size = images.shape[-2:]
        features = detector.extract_feat(in_type_of(self, images))
        if isinstance(detector, SingleStageDetector):
            head = detector.bbox_head
            return reported(dense_found(head, head(features), size, head.test_cfg))
        rpn, roi_head = detector.rpn_head, detector.roi_head
        proposals = dense_found(rpn, rpn(features), size, rpn.test_cfg)
        found = rois_found(roi_head, features, proposals, size)
        if not roi_head.with_mask:
            return reported(found)
        masks = box_masks_of(roi_head, features, found)
        if self.box_masks:
            return (*reported(found), masks)
        pasted = paste_masks(masks, found.boxes, size) >= roi_head.test_cfg.mask_thr_binary
        return (*reported(found), pasted & (found.scores > IGNORED)[..., None, None])


def refusal(detector: nn.Module) -> str | None:
    """What of a detector has no counterpart here, in words; None where there is nothing."""
    heads: list[tuple[type, type]]
    extractors = []
    # What a student adds before mmdet's own class changes no prediction.
    task = next((kind for kind in type(detector).__mro__ if kind.__module__.startswith('mmdet.')), nn.Module)
    if isinstance(detector, SingleStageDetector) and hasattr(detector, 'bbox_head'):
        heads = [(task, SingleStageDetector), (type(detector.bbox_head), BaseDenseHead)]
        settings = [detector.bbox_head.test_cfg]
    elif isinstance(detector, TwoStageDetector) and detector.with_rpn:
        rpn, roi_head = detector.rpn_head, detector.roi_head
        heads = [(task, TwoStageDetector), (type(rpn), RPNHead), (type(roi_head), StandardRoIHead)]
        heads.append((type(roi_head.bbox_head), BBoxHead))
        settings = [rpn.test_cfg, roi_head.test_cfg]
        # A cascade has several heads.
        if getattr(roi_head.bbox_head, 'custom_cls_channels', False):
            return f'scores of a {type(roi_head.bbox_head.loss_cls).__name__}'
        extractors.append(roi_head.bbox_roi_extractor)
        if roi_head.with_mask:
            heads.append((type(roi_head.mask_head), FCNMaskHead))
            extractors.append(roi_head.mask_roi_extractor)
    else:
        return f'a {task.__name__}'
    for head, kind in heads:
        for name in PREDICTING:
            if getattr(head, name, None) is not getattr(kind, name, None):
                return f'a {head.__name__}, which has its own {name}'
    for extractor in extractors:
        if type(extractor) is not SingleRoIExtractor or not all(map(averages, extractor.roi_layers)):
            return f'a {type(extractor).__name__} of {extractor.roi_layers[0]}'
    for cfg in settings:
        nms = dict(cfg.get('nms') or {})
        if nms.get('type', 'nms') != 'nms' or not {'iou_threshold'} <= set(nms) <= NMS or cfg.max_per_img < 1:
            return f'test_cfg with nms={nms} and max_per_img={cfg.max_per_img}'
    return None


def averages(layer: Any) -> bool:
    """Whether a layer for RoIs is mmcv's RoIAlign with averages."""
    return type(layer).__name__ == 'RoIAlign' and layer.pool_mode == 'avg'


def reported(found: Found) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels as a graph gives them."""
    known = found.scores > IGNORED
    return (
        found.boxes * known[..., None],
        found.scores.clamp(min=0),
        torch.where(known, found.labels, -1),
    )


def dense_found(
    head: BaseDenseHead, outputs: Sequence[Sequence[Tensor]], size: Sequence[int], cfg: ConfigDict
) -> Found:
    """What a head over feature maps finds, as `BaseDenseHead` and `RPNHead` predict it.

    Args:
        head: The head.
        outputs: What it returns: scores, boxes and perhaps factors of scores, by level, (B, A * n, H, W).
        size: Height and width of the images in pixels.
        cfg: The `test_cfg` of the head.
    """
    of_rpn = isinstance(head, RPNHead)
    scores, boxes = outputs[:2]
    factors = outputs[2] if len(outputs) > 2 else [None] * len(scores)
    priors = head.prior_generator.grid_priors(
        [level.shape[-2:] for level in scores], dtype=torch.float32, device=scores[0].device
    )
    levels = []
    for index, (score, box, factor, prior) in enumerate(zip(scores, boxes, factors, priors)):
        probability = class_probabilities(head, rows(score, head.cls_out_channels))
        classes = probability.shape[-1]
        flat = probability.flatten(1)
        number = flat.shape[1] if cfg.get('nms_pre', -1) <= 0 else min(cfg.nms_pre, flat.shape[1])
        best, place = flat.topk(number)
        cell, label = place // classes, place % classes
        known = best > cfg.get('score_thr', 0)
        if factor is not None:
            best = best * rows(factor, 1).squeeze(-1).sigmoid().gather(1, cell)
        if of_rpn:
            # It has no threshold, and an NMS of its own for each level.
            label = torch.full_like(label, index)
        else:
            best = torch.where(known, best, IGNORED)
        dims = head.bbox_coder.encode_size
        deltas = rows(box, dims).gather(1, cell[..., None].expand(-1, -1, dims))
        levels.append((best, label, deltas, prior[cell]))
    best, label, deltas, prior = (torch.cat(parts, 1) for parts in zip(*levels))
    decoded = head.bbox_coder.decode(prior.flatten(0, 1), deltas.flatten(0, 1), max_shape=tuple(size))
    found = Found(decoded.unflatten(0, (-1, best.shape[1])), best, label)
    return best_found(wide_enough(found, cfg), cfg.nms, cfg.max_per_img)


def class_probabilities(head: BaseDenseHead, scores: Tensor) -> Tensor:
    """Of the classes that are objects, from scores (B, N, C)."""
    if head.use_sigmoid_cls:
        return scores.sigmoid()
    # Background comes last.
    return scores.softmax(-1)[..., :-1]


def rows(maps: Tensor, dims: int) -> Tensor:
    """Maps (B, A * dims, H, W) as rows (B, H * W * A, dims), in float32."""
    return maps.float().permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, dims))


def wide_enough(found: Found, cfg: ConfigDict) -> Found:
    """Ignore boxes that are not above the `min_bbox_size` of a head."""
    least = cfg.get('min_bbox_size', -1)
    if least < 0:
        return found
    width, height = (found.boxes[..., 2:] - found.boxes[..., :2]).unbind(-1)
    return found._replace(scores=torch.where((width > least) & (height > least), found.scores, IGNORED))


def best_found(found: Found, nms: ConfigDict, count: int) -> Found:
    """At most `count` boxes of each image, by NMS among those of a label, as mmcv's `batched_nms` does it."""
    known = found.scores > IGNORED
    # Labels are moved apart, by the same float32 numbers as in mmcv.
    side = torch.where(known[..., None], found.boxes, 0).amax((1, 2)) + 1
    apart = found.boxes + (found.labels.float() * side[:, None])[..., None]
    kept = nms_mask(apart, found.scores, nms.iou_threshold, count)
    scores, index = torch.where(kept, found.scores, IGNORED).topk(min(count, kept.shape[1]))
    boxes = found.boxes.gather(1, index[..., None].expand(-1, -1, 4))
    return Found(boxes, scores, found.labels.gather(1, index))


def rois_found(
    roi_head: StandardRoIHead, features: Sequence[Tensor], proposals: Found, size: Sequence[int]
) -> Found:
    """What the second stage makes of proposals, as `BBoxHead` predicts it."""
    head, cfg = roi_head.bbox_head, roi_head.test_cfg
    rois = rois_of(proposals)
    pooled = roi_features(roi_head.bbox_roi_extractor, features, rois)
    if roi_head.with_shared_head:
        pooled = roi_head.shared_head(pooled)
    scores, deltas = (output.float() for output in head(pooled))
    batch, number = proposals.scores.shape
    classes = head.num_classes
    scores = scores.softmax(-1)[:, :-1].unflatten(0, (-1, number))
    known = (scores > cfg.score_thr) & (proposals.scores > IGNORED)[..., None]
    boxes_a_roi = 1 if head.reg_class_agnostic else classes
    corners = rois[:, None, 1:].expand(-1, boxes_a_roi, -1).flatten(0, 1)
    boxes = head.bbox_coder.decode(corners, deltas.view(-1, 4), max_shape=tuple(size))
    boxes = boxes.unflatten(0, (-1, number, boxes_a_roi)).expand(-1, -1, classes, -1)
    labels = torch.arange(classes, device=scores.device).expand(batch, number, classes)
    found = Found(boxes.flatten(1, 2), torch.where(known, scores, IGNORED).flatten(1), labels.flatten(1))
    return best_found(found, cfg.nms, cfg.max_per_img)


def box_masks_of(roi_head: StandardRoIHead, features: Sequence[Tensor], found: Found) -> Tensor:
    """The masks of boxes, (B, N, h, w) in [0, 1], as `FCNMaskHead` predicts them."""
    pooled = roi_features(roi_head.mask_roi_extractor, features, rois_of(found))
    if roi_head.with_shared_head:
        pooled = roi_head.shared_head(pooled)
    masks = roi_head.mask_head(pooled).float().sigmoid()
    if roi_head.mask_head.class_agnostic:
        masks = masks[:, 0]
    else:
        label = found.labels.flatten()[:, None, None, None]
        masks = masks.gather(1, label.expand(-1, 1, *masks.shape[2:]))[:, 0]
    return masks.unflatten(0, (-1, found.scores.shape[1]))


def rois_of(found: Found) -> Tensor:
    """(B * N, 5): image, x1 y1 x2 y2; what is no box is empty and at the corner."""
    boxes = torch.where((found.scores > IGNORED)[..., None], found.boxes, 0)
    image = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    return torch.cat((image[:, None, None].expand(-1, boxes.shape[1], 1), boxes), -1).flatten(0, 1)


def roi_features(extractor: SingleRoIExtractor, features: Sequence[Tensor], rois: Tensor) -> Tensor:
    """Each RoI pooled from the level of its size, (R, C, h, w), as `SingleRoIExtractor` does it.

    Every level pools all RoIs, those of other levels as empty ones, which cost next to nothing.
    """
    from torchvision.ops import roi_align

    features = features[: extractor.num_inputs]
    levels = extractor.map_roi_levels(rois, len(features))
    pooled: Any = 0
    for index, (layer, feature) in enumerate(zip(extractor.roi_layers, features)):
        own = (levels == index)[:, None]
        here = torch.cat((rois[:, :1], torch.where(own, rois[:, 1:], 0)), 1)
        aligned = roi_align(
            feature.float(), here, layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
        )
        pooled = torch.where(own[..., None, None], aligned, pooled)
    return pooled.to(features[0].dtype)
