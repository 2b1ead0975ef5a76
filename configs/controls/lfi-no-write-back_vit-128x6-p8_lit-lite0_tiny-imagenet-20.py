# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py whose patches never read the queries.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/lfi-no-write-back_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = '../classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(backbone=dict(write_back='none'))
