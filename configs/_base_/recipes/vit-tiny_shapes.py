# A small ViT on the embedded Shapes data.
_base_ = [
    '../datasets/shapes.py',
    '../schedules/adamw_100e.py',
    '../default_runtime.py',
]

model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
        img_size=64,
        patch_size=8,
    ),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes={{_base_.num_classes}},
        in_channels=128,
        loss=dict(
            type='LabelSmoothLoss',
            label_smooth_val=0.1,
            mode='original',
            num_classes={{_base_.num_classes}},
        ),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
)
# Minutes on two cores.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=1, end=13, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=13)
auto_scale_lr = dict(base_batch_size=64)
