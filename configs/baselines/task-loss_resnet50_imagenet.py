# ResNet-50 on ImageNet-1k by mmpretrain's own recipe, task loss alone: the baseline of
# lfi_resnet50_clip-b16_imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_resnet50_imagenet.py 8
_base_ = '../_base_/recipes/resnet50_imagenet.py'
