# ViTDet's 100 epochs at batch size 64: 25 epochs of four passes, with learning rate steps at 88 % and 96 %.
_base_ = './adamw_1x.py'

train_cfg = dict(max_epochs=25, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=25, milestones=[22, 24], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=64)
