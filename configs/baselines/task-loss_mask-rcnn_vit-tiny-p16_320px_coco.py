# Mask R-CNN on COCO at 320 px, ViT-Tiny/16 from scratch, for a trial on a CPU: task loss alone, the baseline of
# lfi_mask-rcnn_vit-tiny-p16_lit-lite0_320px_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_mask-rcnn_vit-tiny-p16_320px_coco.py 2
_base_ = '../_base_/recipes/mask-rcnn_vit-tiny-p16_320px_coco.py'
