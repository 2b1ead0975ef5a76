# lfi_vit-tiny_shapes.py with queries matched to concepts one to one.
#   python tools/train.py configs/controls/lfi-hungarian_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(readout=dict(assign='hungarian'))
