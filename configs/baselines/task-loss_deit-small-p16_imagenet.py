# DeiT-Small/16 on ImageNet-1k by mmpretrain's own recipe, task loss alone: the baseline of
# lfi_deit-small-p16_clip-b16_imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_deit-small-p16_imagenet.py 4
_base_ = '../_base_/recipes/deit-small-p16_imagenet.py'
