# DeiT-Tiny's width and depth with patches of 8 on 64 pixels. It is trained from scratch, so all arms have a
# convolutional stem, average pooling and the affinity prior.
model = dict(
    _scope_='mmpretrain',
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(
        type='lfi.InteractionQueryViT',
        arch='deit-tiny',
        img_size=64,
        patch_size=8,
        drop_path_rate=0.1,
        stem=dict(type='lfi.ConvStem'),
        with_cls_token=False,
        out_type='avg_featmap',
    ),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=200,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
    supervision=dict(prior=dict(type='lfi.AffinityPrior')),
)
