# ViT-Base/16 on Tiny-ImageNet, 224 px, from MAE's self-supervised weights, task loss alone: the baseline of
# lfi_vit-base-p16_clip-b16_tiny-imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_vit-base-p16_tiny-imagenet.py 2
_base_ = '../_base_/recipes/vit-base-p16_tiny-imagenet.py'
