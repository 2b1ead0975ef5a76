# ViTDet: Mask R-CNN on a plain ViT-Base/16 with windows, four global blocks and relative positions.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

norm_cfg = dict(type='mmpretrain.LN2d')
model = dict(
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryViT',
        arch='base',
        img_size=1024,
        patch_size=16,
        with_cls_token=False,
        out_type='featmap',
        window_size=14,
        global_attn_layers=[2, 5, 8, 11],
        use_rel_pos=True,
        drop_path_rate=0.1,
        # Self-supervised on ImageNet-1k, without labels.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://mmassets.onedl.ai/mmselfsup/1.x/mae/'
            'mae_vit-base-p16_8xb512-fp16-coslr-300e_in1k/'
            'mae_vit-base-p16_8xb512-coslr-300e-fp16_in1k_20220829-c2cf66ba.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(_delete_=True, type='lfi.SimpleFPN', in_channels=768),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', conv_out_channels=256, norm_cfg=norm_cfg),
        mask_head=dict(norm_cfg=norm_cfg),
    ),
)
