# A small ViT on the built-in Shapes data without labels, pretrained by the built-in teacher's interactions.
#   python tools/train.py configs/pretraining/lfi-pretrain_vit-128x6-p8_shapes.py
_base_ = '../_base_/pretraining/vit-128x6-p8_shapes.py'

model = dict(
    readout=dict(text_dims=96),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background concept, the softmax over concepts localizes best.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
        ),
    ),
)
