# A small ViT on the built-in Shapes data without their labels, pretrained by the built-in teacher's interactions.
#   python tools/train.py configs/pretraining/lfi-pretrain_vit-tiny_shapes.py
_base_ = '../_base_/pretraining/vit-tiny_shapes.py'

model = dict(
    type='lfi.LFIPretrainer',
    # With a background in the bank locations are best read by a concept's share.
    reading=dict(positions_reading='share', presence='best-location'),
    readout=dict(text_dims=96),
)
