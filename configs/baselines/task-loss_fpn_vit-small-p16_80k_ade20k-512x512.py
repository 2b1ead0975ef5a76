# Semantic FPN on ADE20K, ViT-Small/16 from DeiT's weights, task loss alone: the baseline of
# lfi_fpn_vit-small-p16_80k_ade20k-512x512.py. It needs mmsegmentation (pip install onedl-mmsegmentation).
#   tools/dist_train.sh configs/baselines/task-loss_fpn_vit-small-p16_80k_ade20k-512x512.py 4
_base_ = [
    'mmseg::_base_/models/fpn_r50.py',
    '../_base_/datasets/ade20k-512x512.py',
    'mmseg::_base_/schedules/schedule_80k.py',
    'mmseg::_base_/default_runtime.py',
]

custom_imports = dict(imports=['lfi'], allow_failed_imports=False)

norm_cfg = dict(type='mmpretrain.LN2d')
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryViT',
        arch='deit-small',
        img_size=512,
        patch_size=16,
        with_cls_token=False,
        out_type='featmap',
        drop_path_rate=0.1,
        # Trained on ImageNet-1k with labels.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
            'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(_delete_=True, type='lfi.SimpleFPN', in_channels=384, num_outs=4),
    decode_head=dict(num_classes=150, norm_cfg=norm_cfg),
)
# 4 GPUs x 4 images, as for mmseg's ViTs, with layer-wise decay of the learning rate.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    constructor='lfi.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.8,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            '.pos_embed': dict(decay_mult=0.0),
            '.interaction_queries': dict(decay_mult=0.0),
            '.query_gate': dict(decay_mult=0.0),
        },
    ),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=80000),
]
auto_scale_lr = dict(base_batch_size=16)
randomness = dict(seed=0)
default_hooks = dict(
    non_finite=dict(type='lfi.NonFiniteHook'), concept_check=dict(type='lfi.ConceptCheckHook')
)
