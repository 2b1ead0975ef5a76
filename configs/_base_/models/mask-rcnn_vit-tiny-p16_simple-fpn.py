# ViTDet with a ViT-Tiny/16, from DeiT's weights.
_base_ = './mask-rcnn_vit-base-p16_simple-fpn.py'

model = dict(
    backbone=dict(
        arch='deit-tiny',
        drop_path_rate=0.0,
        # Trained on ImageNet-1k with labels.
        init_cfg=dict(
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
            'deit-tiny_pt-4xb256_in1k_20220218-13b382a0.pth',
        ),
    ),
    neck=dict(in_channels=192),
)
