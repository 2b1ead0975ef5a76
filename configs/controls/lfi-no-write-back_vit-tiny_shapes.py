# lfi_vit-tiny_shapes.py whose patches never read the queries.
#   python tools/train.py configs/controls/lfi-no-write-back_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(backbone=dict(write_back='none'))
