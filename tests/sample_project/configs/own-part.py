_base_ = [__import__('lfi').config_path('classification/lfi_vit-128x6-p8_shapes.py')]

custom_imports = dict(imports=['lfi', 'sample'], allow_failed_imports=False)
model = dict(
    supervision=dict(interactions=dict(type='sample.WarmUpInteractions', warm_up_steps=2)),
)
