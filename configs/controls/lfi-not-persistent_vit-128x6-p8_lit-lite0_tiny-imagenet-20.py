# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py whose queries start anew in each block.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/lfi-not-persistent_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = '../classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(backbone=dict(persistent=False))
