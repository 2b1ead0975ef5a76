"""Detectors as graphs find what mmdet's own `predict` finds."""

import re

import pytest
import torch
from lfi.export import (
    FLOAT16,
    FLOAT32,
    default_part,
    detector_agreement,
    inference_graph,
    predict_detections,
    split_detections,
    tensorrt_issues,
    to_half,
    to_torch_export,
)
from lfi.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.hub import get_config

pytestmark = pytest.mark.usefixtures('mmdet_scope')

BACKBONE = dict(
    type='lfi.InteractionQueryViT',
    arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32),
    num_queries=0,
    write_back='none',
    img_size=64,
    patch_size=8,
    with_cls_token=False,
    out_type='featmap',
)
SIZE = (64, 48)
# Two levels have all that more have, and are exported in less time.
STRIDES = [8, 16]


def config(name: str) -> ConfigDict:
    """One of mmdet's models, on a small ViT and narrow."""
    cfg = get_config(f'mmdet::{name}').model
    cfg.backbone = BACKBONE
    cfg.neck = dict(type='FPN', in_channels=[16], out_channels=16, num_outs=len(STRIDES))
    return cfg


def mask_rcnn(**rcnn) -> ConfigDict:
    cfg = config('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    cfg.rpn_head.anchor_generator.update(strides=STRIDES, scales=[2])
    cfg.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16, num_classes=5)
    cfg.roi_head.mask_head.update(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=5)
    for extractor in (cfg.roi_head.bbox_roi_extractor, cfg.roi_head.mask_roi_extractor):
        # So that these small images have RoIs on both levels.
        extractor.update(out_channels=16, finest_scale=16, featmap_strides=STRIDES)
    cfg.test_cfg.rpn.update(nms_pre=60, max_per_img=40)
    cfg.test_cfg.rcnn.update({'score_thr': 0.2, 'max_per_img': 12, **rcnn})
    return cfg


def class_agnostic() -> ConfigDict:
    cfg = mask_rcnn()
    cfg.roi_head.bbox_head.reg_class_agnostic = cfg.roi_head.mask_head.class_agnostic = True
    return cfg


def faster_rcnn() -> ConfigDict:
    cfg = mask_rcnn()
    cfg.type = 'FasterRCNN'
    del cfg.roi_head.mask_head, cfg.roi_head.mask_roi_extractor
    return cfg


def dense(name: str, **head) -> ConfigDict:
    cfg = config(name)
    cfg.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=5, **head)
    cfg.test_cfg.update(nms_pre=80, max_per_img=12, score_thr=0.3)
    return cfg


def rtmdet() -> ConfigDict:
    cfg = dense('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', norm_cfg=dict(type='BN'))
    cfg.bbox_head.anchor_generator.strides = STRIDES
    cfg.data_preprocessor.batch_augments = None
    return cfg


def retinanet() -> ConfigDict:
    anchors = dict(
        type='AnchorGenerator',
        octave_base_scale=4,
        scales_per_octave=3,
        ratios=[0.5, 1.0, 2.0],
        strides=STRIDES,
    )
    return dense('retinanet/retinanet_r50_fpn_1x_coco.py', anchor_generator=anchors)


def fcos() -> ConfigDict:
    # Scores have a factor, centerness.
    return dense('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', strides=STRIDES, norm_cfg=None)


def atss() -> ConfigDict:
    anchors = dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=STRIDES
    )
    return dense('atss/atss_r50_fpn_1x_coco.py', anchor_generator=anchors, norm_cfg=None)


DETECTORS = [mask_rcnn, class_agnostic, faster_rcnn, rtmdet, retinanet, fcos, atss]


def trained(cfg: ConfigDict) -> torch.nn.Module:
    """A detector that is sure of something; its weights are random."""
    torch.manual_seed(0)
    detector = MODELS.build(cfg).eval()
    for name, parameter in detector.named_parameters():
        if name.startswith(('rpn_head', 'bbox_head', 'roi_head')):
            # Boxes stay as wide as objects are.
            torch.nn.init.normal_(parameter, std=0.05 if re.search('rpn_reg|fc_reg', name) else 0.2)
    return detector


def images(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def compared(detector, outputs, batch, tolerance=FLOAT32):
    found = split_detections(outputs, SIZE, 0.5)
    return detector_agreement(found, predict_detections(detector, images(batch)), max(SIZE), tolerance)


@pytest.mark.parametrize('build', DETECTORS)
@torch.no_grad()
def test_it_finds_what_predict_finds(build):
    detector = trained(build())
    graph, names = inference_graph(detector, 'detector')
    outputs = graph(images(2))
    assert names == ['boxes', 'scores', 'labels', 'masks'][: len(outputs)]
    assert outputs[0].shape == (2, 12, 4)
    expected = predict_detections(detector, images(2))
    for found, its in zip(split_detections(outputs, SIZE, 0.5), expected):
        assert 2 < len(its.scores) <= 12
        torch.testing.assert_close(found.boxes, its.boxes, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.scores, its.scores, atol=1e-6, rtol=0)
        assert torch.equal(found.labels, its.labels)
        if its.masks is not None:
            assert (found.masks != its.masks).double().mean() < 1e-3


@torch.no_grad()
def test_masks_of_boxes():
    detector = trained(mask_rcnn())
    outputs = inference_graph(detector, 'detector', box_masks=True)[0](images(2))
    assert outputs[3].shape == (2, 12, 28, 28)
    assert compared(detector, outputs, 2).holds


@torch.no_grad()
def test_rows_beyond_what_is_found_hold_nothing():
    detector = trained(mask_rcnn(score_thr=0.8))
    boxes, scores, labels, masks = inference_graph(detector, 'detector')[0](images(2))
    nothing = labels < 0
    assert nothing.any() and not nothing.all()
    assert not boxes[nothing].any() and not scores[nothing].any() and not masks[nothing].any()


@torch.no_grad()
def test_in_half_precision_it_finds_about_the_same():
    detector = trained(mask_rcnn())
    graph, _ = inference_graph(detector, 'detector')
    outputs = to_half(graph)(images(3))
    assert [output.dtype for output in outputs] == [torch.float32, torch.float32, torch.int64, torch.bool]
    assert compared(detector, outputs, 3, FLOAT16).holds and not compared(detector, outputs, 3).holds
    assert next(graph.parameters()).dtype == torch.float32


@torch.no_grad()
def test_in_onnxruntime_it_finds_the_same(tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    from lfi.export.onnx_export import onnx_runner, write_onnx

    detector, path = trained(mask_rcnn()), tmp_path / 'detector.onnx'
    graph, names = inference_graph(detector, 'detector')
    write_onnx(to_torch_export(graph, SIZE), names, None, path)
    assert not tensorrt_issues(path)
    for batch in (1, 3):
        agreement = compared(detector, onnx_runner(path, 1)(images(batch)), batch)
        assert agreement.holds and agreement.compared >= 3 * batch


def cascade_rcnn() -> ConfigDict:
    cfg = config('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py')
    cfg.roi_head.bbox_roi_extractor.featmap_strides = STRIDES
    for head in cfg.roi_head.bbox_head:
        head.update(in_channels=16, fc_out_channels=16)
    return cfg


def soft_nms() -> ConfigDict:
    return mask_rcnn(nms=dict(type='soft_nms', iou_threshold=0.5))


def detr() -> ConfigDict:
    cfg = get_config('mmdet::detr/detr_r50_8xb2-150e_coco.py').model
    cfg.backbone, cfg.neck.in_channels = BACKBONE, [16]
    cfg.encoder.num_layers = cfg.decoder.num_layers = 1
    return cfg


def mask2former() -> ConfigDict:
    cfg = get_config('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py').model
    cfg.backbone = dict(type='ResNet', depth=18)
    head = cfg.panoptic_head
    head.in_channels = [64, 128, 256, 512]
    head.pixel_decoder.encoder.num_layers = head.transformer_decoder.num_layers = 1
    return cfg


def fast_rcnn() -> ConfigDict:
    cfg = faster_rcnn()
    cfg.type = 'FastRCNN'
    del cfg.rpn_head
    return cfg


def double_head_rcnn() -> ConfigDict:
    cfg = faster_rcnn()
    cfg.roi_head.update(type='DoubleHeadRoIHead', reg_roi_scale_factor=1.3)
    return cfg


def seesaw() -> ConfigDict:
    cfg = faster_rcnn()
    cfg.roi_head.bbox_head.loss_cls = dict(type='SeesawLoss', num_classes=5)
    return cfg


@pytest.mark.parametrize(
    ('build', 'words'),
    [
        (mask2former, 'a Mask2Former'),
        (fast_rcnn, 'a FastRCNN'),
        (double_head_rcnn, 'a DoubleHeadRoIHead, which has its own _bbox_forward'),
        (seesaw, 'scores of a SeesawLoss'),
        (cascade_rcnn, 'a CascadeRoIHead, which has its own predict_bbox'),
        (soft_nms, "test_cfg with nms={'type': 'soft_nms', 'iou_threshold': 0.5} and max_per_img=12"),
        (detr, 'a DETR'),
    ],
)
def test_what_has_no_counterpart_is_named(build, words):
    detector = MODELS.build(build())
    assert default_part(detector) == 'detector'
    with pytest.raises(ValueError) as error:
        inference_graph(detector, 'detector')
    assert str(error.value) == f"part='detector' cannot export {words}; or use part='backbone'"
