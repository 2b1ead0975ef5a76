# Mask R-CNN that learns from interactions on COCO: ViT-Base/16 from MAE's weights, 12 epochs, CLIP ViT-B/16 as
# teacher. Other sizes and schedules are in detection/, the baseline in baselines/.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/lfi_mask-rcnn_coco.py 8
_base_ = 'detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py'
