# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py whose patches never read the queries.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/lfi-no-write-back_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(backbone=dict(write_back='none'))
