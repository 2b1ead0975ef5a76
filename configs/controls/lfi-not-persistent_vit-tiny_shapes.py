# lfi_vit-tiny_shapes.py whose queries start anew in each block.
#   python tools/train.py configs/controls/lfi-not-persistent_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(backbone=dict(persistent=False))
