# A small ViT on the embedded Shapes data, learning from the embedded teacher's interactions.
#   python tools/train.py configs/classification/lfi_vit-tiny_shapes.py
_base_ = '../_base_/recipes/vit-tiny_shapes.py'

model = dict(
    type='lfi.LFIImageClassifier',
    backbone=dict(type='lfi.InteractionQueryViT'),
    teacher=dict(
        type='lfi.VLMAttentionTeacher',
        model='shapes-tiny',
        extractor=dict(type='dense'),
        concepts=dict(type='lfi.Shapes'),
        background=['background'],
    ),
    readout=dict(text_dims=96),
)
