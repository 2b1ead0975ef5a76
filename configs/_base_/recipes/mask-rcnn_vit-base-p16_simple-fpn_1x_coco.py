# Mask R-CNN on COCO, ViT-Base/16 from MAE's weights, 12 epochs.
_base_ = [
    '../models/mask-rcnn_vit-base-p16_simple-fpn.py',
    '../datasets/coco-instance.py',
    '../schedules/adamw_1x.py',
    '../detection_runtime.py',
]
