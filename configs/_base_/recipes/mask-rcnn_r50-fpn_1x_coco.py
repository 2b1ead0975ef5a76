# Mask R-CNN on COCO, ResNet-50 with FPN from ImageNet weights, 12 epochs, by mmdet's own recipe.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../datasets/coco-instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../detection_runtime.py',
]
