# Mask R-CNN on COCO, ViT-Base/16 from MAE's weights, 12 epochs, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh \
#       configs/detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py 8
_base_ = '../lfi_mask-rcnn_coco.py'
