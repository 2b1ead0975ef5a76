# Mask R-CNN on COCO, ViT-Tiny/16 from DeiT's weights, 100 epochs of large-scale jitter:
# task loss alone, the baseline of lfi_mask-rcnn_vit-tiny-p16_simple-fpn_100e-lsj_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh \
#       configs/baselines/task-loss_mask-rcnn_vit-tiny-p16_simple-fpn_100e-lsj_coco.py 8
_base_ = '../_base_/recipes/mask-rcnn_vit-tiny-p16_simple-fpn_100e-lsj_coco.py'
