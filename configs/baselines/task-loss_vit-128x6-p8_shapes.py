# A small ViT on the built-in Shapes data, task loss alone: the baseline of lfi_vit-128x6-p8_shapes.py.
#   python tools/train.py configs/baselines/task-loss_vit-128x6-p8_shapes.py
_base_ = [
    '../_base_/models/vit-128x6-p8_64.py',
    '../_base_/datasets/shapes.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes={{_base_.num_classes}}, loss=dict(num_classes={{_base_.num_classes}})))
# Takes minutes on two cores.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=1, end=10, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=16)
