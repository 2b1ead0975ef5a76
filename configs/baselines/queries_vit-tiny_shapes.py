# The student of lfi_vit-tiny_shapes.py with 8 learned queries, task loss alone.
#   python tools/train.py configs/baselines/queries_vit-tiny_shapes.py
_base_ = '../_base_/recipes/vit-tiny_shapes.py'

model = dict(backbone=dict(num_queries=8))
