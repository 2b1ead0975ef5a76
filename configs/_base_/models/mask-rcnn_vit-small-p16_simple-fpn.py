# ViTDet with a ViT-Small/16, from DeiT's weights.
_base_ = './mask-rcnn_vit-base-p16_simple-fpn.py'

model = dict(
    backbone=dict(
        arch='deit-small',
        drop_path_rate=0.1,
        # Trained on ImageNet-1k with labels.
        init_cfg=dict(
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
            'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
        ),
    ),
    neck=dict(in_channels=384),
)
