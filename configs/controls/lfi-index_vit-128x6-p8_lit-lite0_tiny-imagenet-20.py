# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py with a query for each concept.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/lfi-index_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = '../classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(backbone=dict(num_queries={{_base_.num_classes}}), readout=dict(assign='index'))
