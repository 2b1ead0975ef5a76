# A small ViT on the embedded Shapes data, learning from the embedded teacher's interactions.
#   python tools/train.py configs/classification/lfi_vit-tiny_shapes.py
_base_ = '../_base_/recipes/vit-tiny_shapes.py'

model = dict(
    type='lfi.LFIImageClassifier',
    backbone=dict(num_queries=8),
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    readout=dict(text_dims=96),
)
