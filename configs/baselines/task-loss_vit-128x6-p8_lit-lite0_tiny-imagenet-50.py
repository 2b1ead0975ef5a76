# A ViT 128 wide and 6 blocks deep on 50 classes of Tiny-ImageNet, 64 px, from scratch, task loss alone: the baseline of
# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py.
#   LFI_DATA_ROOT=data python tools/train.py configs/baselines/task-loss_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
_base_ = '../_base_/recipes/vit-128x6-p8_tiny-imagenet-50.py'
