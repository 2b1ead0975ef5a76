# Swin-Tiny on ImageNet-1k by mmpretrain's own recipe, task loss alone: the baseline of
# lfi_swin-tiny_clip-b16_imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_swin-tiny_imagenet.py 16
_base_ = '../_base_/recipes/swin-tiny_imagenet.py'
