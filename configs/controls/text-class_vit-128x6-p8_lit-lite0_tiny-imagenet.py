# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet.py with the class loss in the text space, and no interactions: what its text
# head learns from the classes' names alone.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/text-class_vit-128x6-p8_lit-lite0_tiny-imagenet.py
_base_ = '../classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet.py'

model = dict(interaction_loss=dict(positions_weight=0.0, concepts_weight=0.0))
