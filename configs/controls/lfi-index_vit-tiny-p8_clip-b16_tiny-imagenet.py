# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py with a query for each concept.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/lfi-index_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(backbone=dict(num_queries={{_base_.num_classes}}), readout=dict(assign='index'))
