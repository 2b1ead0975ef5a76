# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py over concepts alone.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/lfi-concepts_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = '../classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(interaction_loss=dict(positions_weight=0))
