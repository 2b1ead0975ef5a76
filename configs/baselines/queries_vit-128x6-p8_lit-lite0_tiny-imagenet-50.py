# The student of lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
# with 8 learned queries, task loss alone.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/baselines/queries_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
_base_ = '../_base_/recipes/vit-128x6-p8_tiny-imagenet-50.py'

model = dict(backbone=dict(num_queries=8))
