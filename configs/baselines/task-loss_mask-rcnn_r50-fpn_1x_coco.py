# Mask R-CNN on COCO, ResNet-50 with FPN, 12 epochs:
# task loss alone, the baseline of lfi_mask-rcnn_r50-fpn_1x_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_mask-rcnn_r50-fpn_1x_coco.py 8
_base_ = '../_base_/recipes/mask-rcnn_r50-fpn_1x_coco.py'
