# lfi_vit-tiny_shapes.py without the class loss in the text space.
#   python tools/train.py configs/controls/lfi-no-text-class_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(text_class_loss=None)
