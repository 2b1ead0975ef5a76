# A small ViT on the built-in Shapes data with DeiT's Mixup and CutMix, task loss alone: the baseline of
# lfi_vit-128x6-p8-mixed_shapes.py.
#   python tools/train.py configs/baselines/task-loss_vit-128x6-p8-mixed_shapes.py
_base_ = './task-loss_vit-128x6-p8_shapes.py'
model = dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]))
