"""Graphs of mmdet's detectors, from images to detections. Needs mmdet.

All shapes are static, as TensorRT and batches require. Each image has the detector's largest number of rows;
unused rows have score 0 and label -1.
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

from .graph_ops import IGNORED, nms_mask, paste_masks, to_weights_dtype

# Methods of a head that are reimplemented here.
PREDICT_METHODS = (
    'predict',
    'predict_by_feat',
    '_predict_by_feat_single',
    '_bbox_post_process',
    'predict_bbox',
    'predict_mask',
    '_bbox_forward',
    '_mask_forward',
)
# Settings of NMS that are implemented here, or do not change the result.
NMS_SETTINGS = {'type', 'iou_threshold', 'split_thr'}


class Boxes(NamedTuple):
    """Candidate boxes of a batch, N for each image.

    Args:
        boxes: (B, N, 4), x1 y1 x2 y2 in pixels of the input.
        scores: (B, N); `IGNORED` marks unused rows.
        labels: (B, N), int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class DetectorGraph(nn.Module):
    """Detector with the postprocessing of its heads' outputs.

    Args:
        detector: detector of mmdet for which `unsupported_reason` returns None.
        box_masks: whether to return each mask within its box, not pasted into the image. Defaults to False.
    """

    def __init__(self, detector: nn.Module, box_masks: bool = False) -> None:
        super().__init__()
        self.detector = detector
        self.box_masks = box_masks

    @property
    def names(self) -> list[str]:
        """Names of the outputs."""
        with_mask = isinstance(self.detector, TwoStageDetector) and self.detector.roi_head.with_mask
        return ['boxes', 'scores', 'labels', *(['masks'] if with_mask else [])]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return boxes (B, N, 4), scores (B, N), labels (B, N) and masks of normalised images (B, 3, H, W).

        Masks are (B, N, H, W) bool; or with `box_masks` (B, N, h, w) in [0, 1], and the model's
        `mask_thr_binary` is the threshold.
        """
        detector: Any = self.detector
        size = images.shape[-2:]
        features = detector.extract_feat(to_weights_dtype(self, images))
        if isinstance(detector, SingleStageDetector):
            head = detector.bbox_head
            return graph_outputs(predict_dense(head, head(features), size, head.test_cfg))
        rpn, roi_head = detector.rpn_head, detector.roi_head
        proposals = predict_dense(rpn, rpn(features), size, rpn.test_cfg)
        boxes = predict_rois(roi_head, features, proposals, size)
        if not roi_head.with_mask:
            return graph_outputs(boxes)
        masks = predict_masks(roi_head, features, boxes)
        if self.box_masks:
            return (*graph_outputs(boxes), masks)
        pasted = paste_masks(masks, boxes.boxes, size) >= roi_head.test_cfg.mask_thr_binary
        return (*graph_outputs(boxes), pasted & (boxes.scores > IGNORED)[..., None, None])


def unsupported_reason(detector: nn.Module) -> str | None:
    """Name the part of a detector that this module does not support; None if there is none."""
    heads: list[tuple[type, type]]
    extractors = []
    # A student's classes come before mmdet's, and do not change the predictions.
    task = next((kind for kind in type(detector).__mro__ if kind.__module__.startswith('mmdet.')), nn.Module)
    if isinstance(detector, SingleStageDetector) and hasattr(detector, 'bbox_head'):
        heads = [(task, SingleStageDetector), (type(detector.bbox_head), BaseDenseHead)]
        settings = [detector.bbox_head.test_cfg]
    elif isinstance(detector, TwoStageDetector) and detector.with_rpn:
        rpn, roi_head = detector.rpn_head, detector.roi_head
        heads = [(task, TwoStageDetector), (type(rpn), RPNHead), (type(roi_head), StandardRoIHead)]
        heads.append((type(roi_head.bbox_head), BBoxHead))
        settings = [rpn.test_cfg, roi_head.test_cfg]
        # A cascade has a list of heads.
        if getattr(roi_head.bbox_head, 'custom_cls_channels', False):
            return f'scores of a {type(roi_head.bbox_head.loss_cls).__name__}'
        extractors.append(roi_head.bbox_roi_extractor)
        if roi_head.with_mask:
            heads.append((type(roi_head.mask_head), FCNMaskHead))
            extractors.append(roi_head.mask_roi_extractor)
    else:
        return f'a {task.__name__}'
    for head, kind in heads:
        for name in PREDICT_METHODS:
            if getattr(head, name, None) is not getattr(kind, name, None):
                return f'a {head.__name__}, which has its own {name}'
    for extractor in extractors:
        if type(extractor) is not SingleRoIExtractor or not all(
            map(is_average_roi_align, extractor.roi_layers)
        ):
            return f'a {type(extractor).__name__} of {extractor.roi_layers[0]}'
    for cfg in settings:
        nms = dict(cfg.get('nms') or {})
        if (
            nms.get('type', 'nms') != 'nms'
            or not {'iou_threshold'} <= set(nms) <= NMS_SETTINGS
            or cfg.max_per_img < 1
        ):
            return f'test_cfg with nms={nms} and max_per_img={cfg.max_per_img}'
    return None


def is_average_roi_align(layer: Any) -> bool:
    """Whether an RoI layer is mmcv's RoIAlign with average pooling."""
    return type(layer).__name__ == 'RoIAlign' and layer.pool_mode == 'avg'


def graph_outputs(boxes: Boxes) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels, with score 0 and label -1 in unused rows."""
    valid = boxes.scores > IGNORED
    return (
        boxes.boxes * valid[..., None],
        boxes.scores.clamp(min=0),
        torch.where(valid, boxes.labels, -1),
    )


def predict_dense(
    head: BaseDenseHead, outputs: Sequence[Sequence[Tensor]], size: Sequence[int], cfg: ConfigDict
) -> Boxes:
    """Boxes of a head over feature maps, as `BaseDenseHead` and `RPNHead` predict them.

    Args:
        head: dense head of mmdet.
        outputs: scores, boxes and optional score factors of the head, each (B, A * n, H, W) by level.
        size: height and width of the images, in pixels.
        cfg: `test_cfg` of the head.
    """
    is_rpn = isinstance(head, RPNHead)
    scores, deltas = outputs[:2]
    factors = outputs[2] if len(outputs) > 2 else [None] * len(scores)
    priors = head.prior_generator.grid_priors(
        [level.shape[-2:] for level in scores], dtype=torch.float32, device=scores[0].device
    )
    levels = []
    for index, (score, delta, factor, prior) in enumerate(zip(scores, deltas, factors, priors)):
        probability = class_probabilities(head, flatten_maps(score, head.cls_out_channels))
        classes = probability.shape[-1]
        flat = probability.flatten(1)
        number = flat.shape[1] if cfg.get('nms_pre', -1) <= 0 else min(cfg.nms_pre, flat.shape[1])
        top, index_in_level = flat.topk(number)
        cell, label = index_in_level // classes, index_in_level % classes
        above = top > cfg.get('score_thr', 0)
        if factor is not None:
            top = top * flatten_maps(factor, 1).squeeze(-1).sigmoid().gather(1, cell)
        if is_rpn:
            # RPN has no threshold. Its labels are the levels, so that NMS runs within each level.
            label = torch.full_like(label, index)
        else:
            top = torch.where(above, top, IGNORED)
        dims = head.bbox_coder.encode_size
        delta = flatten_maps(delta, dims).gather(1, cell[..., None].expand(-1, -1, dims))
        levels.append((top, label, delta, prior[cell]))
    top, label, delta, prior = (torch.cat(parts, 1) for parts in zip(*levels))
    decoded = head.bbox_coder.decode(prior.flatten(0, 1), delta.flatten(0, 1), max_shape=tuple(size))
    boxes = Boxes(decoded.unflatten(0, (-1, top.shape[1])), top, label)
    return apply_nms(drop_small_boxes(boxes, cfg), cfg.nms, cfg.max_per_img)


def class_probabilities(head: BaseDenseHead, scores: Tensor) -> Tensor:
    """Probabilities of the object classes, from scores (B, N, C)."""
    if head.use_sigmoid_cls:
        return scores.sigmoid()
    # Background comes last.
    return scores.softmax(-1)[..., :-1]


def flatten_maps(maps: Tensor, dims: int) -> Tensor:
    """Flatten maps (B, A * dims, H, W) to rows (B, H * W * A, dims), in float32."""
    return maps.float().permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, dims))


def drop_small_boxes(boxes: Boxes, cfg: ConfigDict) -> Boxes:
    """Ignore boxes whose sides are not above `min_bbox_size` of a head's `test_cfg`."""
    min_size = cfg.get('min_bbox_size', -1)
    if min_size < 0:
        return boxes
    width, height = (boxes.boxes[..., 2:] - boxes.boxes[..., :2]).unbind(-1)
    return boxes._replace(scores=torch.where((width > min_size) & (height > min_size), boxes.scores, IGNORED))


def apply_nms(candidates: Boxes, nms: ConfigDict, count: int) -> Boxes:
    """Select at most `count` boxes of each image by NMS within each label, as mmcv's `batched_nms` does."""
    valid = candidates.scores > IGNORED
    # Offsets separate the labels. They are the same float32 numbers as in mmcv.
    side = torch.where(valid[..., None], candidates.boxes, 0).amax((1, 2)) + 1
    shifted = candidates.boxes + (candidates.labels.float() * side[:, None])[..., None]
    selected = nms_mask(shifted, candidates.scores, nms.iou_threshold, count)
    scores, index = torch.where(selected, candidates.scores, IGNORED).topk(min(count, selected.shape[1]))
    boxes = candidates.boxes.gather(1, index[..., None].expand(-1, -1, 4))
    return Boxes(boxes, scores, candidates.labels.gather(1, index))


def predict_rois(
    roi_head: StandardRoIHead, features: Sequence[Tensor], proposals: Boxes, size: Sequence[int]
) -> Boxes:
    """Boxes of the second stage from proposals, as `BBoxHead` predicts them."""
    head, cfg = roi_head.bbox_head, roi_head.test_cfg
    rois = to_rois(proposals)
    pooled = roi_features(roi_head.bbox_roi_extractor, features, rois)
    if roi_head.with_shared_head:
        pooled = roi_head.shared_head(pooled)
    scores, deltas = (output.float() for output in head(pooled))
    batch, number = proposals.scores.shape
    classes = head.num_classes
    scores = scores.softmax(-1)[:, :-1].unflatten(0, (-1, number))
    valid = (scores > cfg.score_thr) & (proposals.scores > IGNORED)[..., None]
    boxes_per_roi = 1 if head.reg_class_agnostic else classes
    corners = rois[:, None, 1:].expand(-1, boxes_per_roi, -1).flatten(0, 1)
    boxes = head.bbox_coder.decode(corners, deltas.view(-1, 4), max_shape=tuple(size))
    boxes = boxes.unflatten(0, (-1, number, boxes_per_roi)).expand(-1, -1, classes, -1)
    labels = torch.arange(classes, device=scores.device).expand(batch, number, classes)
    scores = torch.where(valid, scores, IGNORED).flatten(1)
    return apply_nms(Boxes(boxes.flatten(1, 2), scores, labels.flatten(1)), cfg.nms, cfg.max_per_img)


def predict_masks(roi_head: StandardRoIHead, features: Sequence[Tensor], boxes: Boxes) -> Tensor:
    """Masks of boxes, (B, N, h, w) in [0, 1], as `FCNMaskHead` predicts them."""
    pooled = roi_features(roi_head.mask_roi_extractor, features, to_rois(boxes))
    if roi_head.with_shared_head:
        pooled = roi_head.shared_head(pooled)
    masks = roi_head.mask_head(pooled).float().sigmoid()
    if roi_head.mask_head.class_agnostic:
        masks = masks[:, 0]
    else:
        label = boxes.labels.flatten()[:, None, None, None]
        masks = masks.gather(1, label.expand(-1, 1, *masks.shape[2:]))[:, 0]
    return masks.unflatten(0, (-1, boxes.scores.shape[1]))


def to_rois(boxes: Boxes) -> Tensor:
    """RoIs (B * N, 5) of boxes: image index, x1 y1 x2 y2. Unused rows are zeros."""
    corners = torch.where((boxes.scores > IGNORED)[..., None], boxes.boxes, 0)
    image = torch.arange(corners.shape[0], device=corners.device, dtype=corners.dtype)
    return torch.cat((image[:, None, None].expand(-1, corners.shape[1], 1), corners), -1).flatten(0, 1)


def roi_features(extractor: SingleRoIExtractor, features: Sequence[Tensor], rois: Tensor) -> Tensor:
    """Features of RoIs, (R, C, h, w), pooled from the level of each RoI's size as by `SingleRoIExtractor`.

    Each level pools all RoIs. RoIs of other levels are empty, and cost next to nothing.
    """
    from torchvision.ops import roi_align

    features = features[: extractor.num_inputs]
    levels = extractor.map_roi_levels(rois, len(features))
    pooled: Any = 0
    for index, (layer, feature) in enumerate(zip(extractor.roi_layers, features)):
        at_level = (levels == index)[:, None]
        level_rois = torch.cat((rois[:, :1], torch.where(at_level, rois[:, 1:], 0)), 1)
        settings = (layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned)
        aligned = roi_align(feature.float(), level_rois, *settings)
        pooled = torch.where(at_level[..., None, None], aligned, pooled)
    return pooled.to(features[0].dtype)
