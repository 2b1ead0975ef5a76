# ConvNeXt-Tiny on ImageNet-1k by mmpretrain's own recipe, task loss alone: the baseline of
# lfi_convnext-tiny_clip-b16_imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_convnext-tiny_imagenet.py 32
_base_ = '../_base_/recipes/convnext-tiny_imagenet.py'
