# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py over positions alone.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/lfi-positions_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(interaction_loss=dict(concepts_weight=0))
