# The student of lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py with 8 learned queries, task loss alone.
#   LFI_DATA_ROOT=data python tools/train.py configs/baselines/queries_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../_base_/recipes/vit-tiny-p8_tiny-imagenet.py'

model = dict(backbone=dict(num_queries=8))
