# A ViT 128 wide and 6 blocks deep with patches of 8 on 64 pixels, for studies on a CPU. It is trained from scratch, so
# all arms have a convolutional stem, average pooling and the affinity prior.
model = dict(
    _scope_='mmpretrain',
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(
        type='lfi.InteractionQueryViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
        img_size=64,
        patch_size=8,
        stem=dict(type='lfi.ConvStem'),
        with_cls_token=False,
        out_type='avg_featmap',
    ),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=200,
        in_channels=128,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
    supervision=dict(prior=dict(type='lfi.AffinityPrior')),
)
