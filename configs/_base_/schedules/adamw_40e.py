# 40 epochs of AdamW at batch size 32, 2 of them warm-up: minutes on two cores.
_base_ = './adamw_100e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=2, end=40, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=40)
