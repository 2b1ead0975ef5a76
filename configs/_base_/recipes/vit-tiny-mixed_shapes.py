# A small ViT on the built-in Shapes data, whose images are mixed in pairs, as DeiT's are.
_base_ = './vit-tiny_shapes.py'
model = dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]))
