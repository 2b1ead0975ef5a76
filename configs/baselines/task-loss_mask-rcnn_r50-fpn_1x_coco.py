# Mask R-CNN on COCO, ResNet-50 with FPN from ImageNet weights, 12 epochs, by mmdet's own recipe:
# task loss alone, the baseline of lfi_mask-rcnn_r50-fpn_1x_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_mask-rcnn_r50-fpn_1x_coco.py 8
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/coco-instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/detection_runtime.py',
]
