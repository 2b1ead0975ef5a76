_base_ = 'lfi::classification/lfi_vit-128x6-p8_shapes.py'

model = dict(supervision=dict(interactions=dict(loss=dict(spatial_weight=1.0))))
