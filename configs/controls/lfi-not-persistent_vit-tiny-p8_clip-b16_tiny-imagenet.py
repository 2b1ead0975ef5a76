# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py whose queries start anew in each block.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/lfi-not-persistent_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(backbone=dict(persistent=False))
