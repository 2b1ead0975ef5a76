# DeiT-Tiny's width and depth with patches of 8 on 64 pixels.
model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=64, patch_size=8, drop_path_rate=0.1),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=200,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
)
