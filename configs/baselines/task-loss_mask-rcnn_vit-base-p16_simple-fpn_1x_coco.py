# Mask R-CNN on COCO, ViT-Base/16 from MAE's weights, 12 epochs:
# task loss alone, the baseline of configs/lfi_mask-rcnn_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh \
#       configs/baselines/task-loss_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py 8
_base_ = [
    '../_base_/models/mask-rcnn_vit-base-p16_simple-fpn.py',
    '../_base_/datasets/coco-instance.py',
    '../_base_/schedules/adamw_1x.py',
    '../_base_/detection_runtime.py',
]
