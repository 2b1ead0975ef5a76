# lfi_vit-tiny_shapes.py over positions alone.
#   python tools/train.py configs/controls/lfi-positions_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(interaction_loss=dict(concepts_weight=0))
