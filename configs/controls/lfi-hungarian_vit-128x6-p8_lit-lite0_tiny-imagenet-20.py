# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py with queries matched to concepts one to one.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/lfi-hungarian_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = '../classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(readout=dict(assign='hungarian'))
