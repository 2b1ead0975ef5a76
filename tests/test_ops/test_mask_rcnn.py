"""A small Mask R-CNN of mmdet learns and predicts with the ops that this environment has."""

import copy
import sys

import mmdet.models  # noqa: F401
import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from pycocotools import mask as rle
from test_nms import loop_nms
from test_roi import loop_roi_align

SIZE = 64
CLASSES = 2
STRIDES = [4, 8, 16, 32]


def box_coder(*stds):
    return {'type': 'DeltaXYWHBBoxCoder', 'target_stds': stds}


def roi_extractor(size):
    return {
        'type': 'SingleRoIExtractor',
        'roi_layer': {'type': 'RoIAlign', 'output_size': size, 'sampling_ratio': 0},
        'out_channels': 16,
        'featmap_strides': STRIDES,
    }


def assigner(positive, negative):
    return {
        'type': 'MaxIoUAssigner',
        'pos_iou_thr': positive,
        'neg_iou_thr': negative,
        'min_pos_iou': negative,
    }


def sampler(add_boxes):
    return {'type': 'RandomSampler', 'num': 32, 'pos_fraction': 0.5, 'add_gt_as_proposals': add_boxes}


PROPOSALS = {
    'nms_pre': 100,
    'max_per_img': 50,
    'nms': {'type': 'nms', 'iou_threshold': 0.7},
    'min_bbox_size': 0,
}
MASK_RCNN = {
    'type': 'MaskRCNN',
    'data_preprocessor': {
        'type': 'DetDataPreprocessor',
        'mean': [128.0] * 3,
        'std': [64.0] * 3,
        'pad_mask': True,
    },
    'backbone': {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'init_cfg': None},
    'neck': {'type': 'FPN', 'in_channels': [8, 16, 32, 64], 'out_channels': 16, 'num_outs': 4},
    'rpn_head': {
        'type': 'RPNHead',
        'in_channels': 16,
        'feat_channels': 16,
        'anchor_generator': {
            'type': 'AnchorGenerator',
            'scales': [4],
            'ratios': [1.0],
            'strides': STRIDES,
        },
        'bbox_coder': box_coder(1.0, 1.0, 1.0, 1.0),
        'loss_cls': {'type': 'CrossEntropyLoss', 'use_sigmoid': True},
        'loss_bbox': {'type': 'L1Loss'},
    },
    'roi_head': {
        'type': 'StandardRoIHead',
        'bbox_roi_extractor': roi_extractor(7),
        'bbox_head': {
            'type': 'Shared2FCBBoxHead',
            'in_channels': 16,
            'fc_out_channels': 16,
            'num_classes': CLASSES,
            'bbox_coder': box_coder(0.1, 0.1, 0.2, 0.2),
            'loss_cls': {'type': 'CrossEntropyLoss'},
            'loss_bbox': {'type': 'L1Loss'},
        },
        'mask_roi_extractor': roi_extractor(14),
        'mask_head': {
            'type': 'FCNMaskHead',
            'num_convs': 1,
            'in_channels': 16,
            'conv_out_channels': 16,
            'num_classes': CLASSES,
            'loss_mask': {'type': 'CrossEntropyLoss', 'use_mask': True},
        },
    },
    'train_cfg': {
        'rpn': {
            'assigner': assigner(0.7, 0.3),
            'sampler': sampler(add_boxes=False),
            'allowed_border': -1,
            'pos_weight': -1,
        },
        'rpn_proposal': PROPOSALS,
        'rcnn': {
            'assigner': assigner(0.5, 0.5),
            'sampler': sampler(add_boxes=True),
            'mask_size': 28,
            'pos_weight': -1,
        },
    },
    'test_cfg': {
        'rpn': PROPOSALS,
        'rcnn': {'score_thr': 0.05, 'max_per_img': 10, 'mask_thr_binary': 0.5},
    },
}


@pytest.fixture
def detector():
    """Builds the model with a given NMS after its box head."""

    def build(nms):
        config = ConfigDict(copy.deepcopy(MASK_RCNN))
        config['test_cfg']['rcnn']['nms'] = nms
        torch.manual_seed(0)
        return MODELS.build(config)

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield build


def batch():
    """Two images, each with one object of each class."""
    boxes = torch.tensor([[6.0, 8, 30, 40], [28, 20, 60, 58]])
    masks = torch.zeros(CLASSES, SIZE, SIZE, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    sample = DetDataSample(
        metainfo={'img_shape': (SIZE, SIZE), 'ori_shape': (SIZE, SIZE), 'scale_factor': (1.0, 1.0)},
        gt_instances=InstanceData(
            bboxes=boxes, labels=torch.arange(CLASSES), masks=BitmapMasks(masks.numpy(), SIZE, SIZE)
        ),
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    samples = [sample, copy.deepcopy(sample)]
    for img_id, each in enumerate(samples):
        each.set_metainfo({'img_id': img_id})
    return {'inputs': list(images), 'data_samples': samples}


def train(model, steps):
    """The loss of each step on one batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        data = model.data_preprocessor(batch(), training=True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_mask_rcnn_learns(detector, unlearnt):
    """Every parameter gets a gradient, and a few steps on one batch lower the loss."""
    model = detector({'type': 'nms', 'iou_threshold': 0.5})
    losses = train(model, steps=6)
    assert not unlearnt(model)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize('nms', ['nms', 'soft_nms'])
@torch.no_grad()
def test_mask_rcnn_predicts(detector, nms):
    model = detector({'type': nms, 'iou_threshold': 0.5}).eval()
    results = model.test_step(batch())
    for result in results:
        instances = result.pred_instances
        assert 0 < len(instances) <= 10
        assert instances.masks.shape == (len(instances), SIZE, SIZE)
        assert instances.bboxes.isfinite().all()
        assert (instances.scores[:-1] >= instances.scores[1:]).all()


def average_precision(model):
    """COCO's box and mask AP on the batch."""
    metric = CocoMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = {'classes': [str(i) for i in range(CLASSES)]}
    for result in model.test_step(batch()):
        truth = result.gt_instances
        boxes, labels = truth.bboxes.tolist(), truth.labels.tolist()
        masks = rle.encode(np.asfortranarray(truth.masks.masks.transpose(1, 2, 0)))
        result.set_metainfo(
            {
                'instances': [
                    {'bbox': box, 'bbox_label': label, 'mask': mask, 'ignore_flag': 0}
                    for box, label, mask in zip(boxes, labels, masks)
                ]
            }
        )
        metric.process({}, [result.to_dict()])
    metrics = metric.evaluate(2)
    return metrics['coco/bbox_mAP'], metrics['coco/segm_mAP']


def plain_nms(boxes, scores, iou_threshold, offset):
    return torch.tensor(loop_nms(boxes.numpy(), scores.numpy(), iou_threshold, offset), dtype=torch.long)


def plain_roi_align(input, rois, output, argmax_y, argmax_x, **options):
    """By keywords as mmcv calls it."""
    height, width = options['aligned_height'], options['aligned_width']
    scale, ratio, aligned = (options[name] for name in ('spatial_scale', 'sampling_ratio', 'aligned'))
    if len(rois):
        output.copy_(loop_roi_align(input, rois, height, width, scale, ratio, aligned))


@torch.no_grad()
def test_plain_ops_give_the_same_average_precision(detector, monkeypatch):
    model = detector({'type': 'nms', 'iou_threshold': 0.5})
    with torch.enable_grad():
        train(model, steps=60)
    model.eval()
    found = average_precision(model)
    assert min(found) > 0.1
    calls = []
    for name, plain in (('nms', plain_nms), ('roi_align_forward', plain_roi_align)):

        def counted(*args, plain=plain, **options):
            calls.append(plain)
            return plain(*args, **options)

        monkeypatch.setattr(sys.modules['mmcv._ext'], name, counted)
    assert average_precision(model) == pytest.approx(found, abs=1e-4)
    assert {plain_nms, plain_roi_align} == set(calls)
