_base_ = 'lfi::classification/lfi_vit-tiny_shapes.py'

model = dict(supervision=dict(interactions=dict(loss=dict(positions_weight=1.0))))
