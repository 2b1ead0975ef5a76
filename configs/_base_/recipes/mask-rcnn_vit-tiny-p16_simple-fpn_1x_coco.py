# Mask R-CNN on COCO, ViT-Tiny/16 from DeiT's weights, 12 epochs.
_base_ = [
    '../models/mask-rcnn_vit-tiny-p16_simple-fpn.py',
    '../datasets/coco-instance.py',
    '../schedules/adamw_1x.py',
    '../detection_runtime.py',
]
