# lfi_vit-tiny_shapes.py with a query for each concept.
#   python tools/train.py configs/controls/lfi-index_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

# The 20 classes and 'background'.
model = dict(backbone=dict(num_queries=21), readout=dict(assign='index'))
