# lfi_vit-tiny_shapes.py over concepts alone.
#   python tools/train.py configs/controls/lfi-concepts_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(interaction_loss=dict(positions_weight=0))
