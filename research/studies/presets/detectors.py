"""Studies of detectors."""

from __future__ import annotations

from dataclasses import replace

from ..arms import build_arm
from ..settings import FEW_BOXES_CHOSEN, with_settings
from .preset import Preset

DETECTOR = 'mask-rcnn_vit-128x6-p8_shapes'
SHAPES_DETECTOR = Preset(
    about='Built-in Shapes with masks, a small Mask R-CNN from scratch, 1,200 training images of 96 px, 8 '
    'epochs; validation on 400 images, test on 1,000; the built-in teacher, which has seen instance masks.',
    arms=(
        build_arm('task-loss', DETECTOR),
        build_arm('no-prior', DETECTOR),
        build_arm('other-image', DETECTOR, folder='detection', cache='maps'),
        build_arm('lfi', DETECTOR, folder='detection', cache='maps'),
    ),
    metrics=('coco/bbox_mAP', 'coco/segm_mAP'),
    test_options=('test_dataloader.dataset.split=test', 'test_dataloader.dataset.num_images=1000'),
)
FEW_BOXES_ARMS = ('task-loss', 'other-image', 'lfi')
SHAPES_DETECTOR_FEW = replace(
    SHAPES_DETECTOR,
    about='Built-in Shapes with masks, a small Mask R-CNN from scratch, 1,200 training images of 96 px, of '
    'which 120 have labels, other ones for each seed; half of each batch labelled, 8 epochs, each once over '
    'the images without labels; validation on 400 images, test on 1,000; the built-in teacher, which has '
    'seen instance masks.',
    arms=tuple(
        with_settings(arm, FEW_BOXES_CHOSEN) for arm in SHAPES_DETECTOR.arms if arm.name in FEW_BOXES_ARMS
    ),
    options=('train_dataloader.few_labels.labelled_images=120',),
    seed_options=(*SHAPES_DETECTOR.seed_options, 'train_dataloader.few_labels.seed={seed}'),
)
COCO_FULL = Preset(
    about='COCO, Mask R-CNN on ViT-Base/16 with SimpleFPN, 12 epochs; the validation images serve as test '
    'images too; CLIP ViT-B/16 at 448 px by ClearCLIP as teacher.',
    arms=(
        build_arm('task-loss', 'mask-rcnn_vit-base-p16_simple-fpn_1x_coco'),
        build_arm('lfi', 'mask-rcnn_vit-base-p16_simple-fpn_1x_coco', folder='detection', cache='maps'),
    ),
    metrics=('coco/bbox_mAP', 'coco/segm_mAP'),
    published={'coco/bbox_mAP': '+1.6', 'coco/segm_mAP': '+2.4'},
)
