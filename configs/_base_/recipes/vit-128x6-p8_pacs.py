# A ViT 128 wide and 6 blocks deep on all domains of PACS but one, 64 px, from scratch.
_base_ = [
    '../models/vit-128x6-p8_64.py',
    '../datasets/pacs_64.py',
    '../schedules/adamw_100e.py',
    '../default_runtime.py',
]
model = dict(
    head=dict(
        num_classes={{_base_.num_classes}},
        loss=dict(num_classes={{_base_.num_classes}}),
    )
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=32)
# Minutes on two cores.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=2, end=40, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=40)
# DomainBed's training-domain validation: the target domain has no say.
default_hooks = dict(checkpoint=dict(save_best='domain/mean', rule='greater'))
