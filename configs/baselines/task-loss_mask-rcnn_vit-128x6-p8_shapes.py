# A small Mask R-CNN on the built-in Shapes data, task loss alone: the baseline of lfi_mask-rcnn_vit-128x6-p8_shapes.py.
#   python tools/train.py configs/baselines/task-loss_mask-rcnn_vit-128x6-p8_shapes.py
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/shapes-instance.py',
    '../_base_/schedules/adamw_1x.py',
    '../_base_/detection_runtime.py',
]

strides = [2, 4, 8, 16, 32]
roi_extractor = dict(out_channels=48, featmap_strides=strides[:4], finest_scale=14)
model = dict(
    type='lfi.Student',
    task='mmdet.MaskRCNN',
    data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3),
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
        img_size=96,
        patch_size=8,
        stem=dict(type='lfi.ConvStem'),
        with_cls_token=False,
        out_type='featmap',
    ),
    neck=dict(_delete_=True, type='lfi.SimpleFPN', in_channels=128, out_channels=48),
    rpn_head=dict(in_channels=48, feat_channels=48, anchor_generator=dict(strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=48, fc_out_channels=256, num_classes=20),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(num_convs=2, in_channels=48, conv_out_channels=32, num_classes=20),
    ),
    # Few objects in small images.
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=20)),
    # A ViT trained from scratch needs the affinity prior.
    supervision=dict(prior=dict(type='lfi.AffinityPrior')),
)
# Takes minutes on two cores. All layers have the same learning rate, since the ViT is trained from scratch.
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=1, end=8, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=8)
# mmdet's hook needs image files, and Shapes has none. --show-dir draws interactions and predicted boxes.
default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='coco/segm_mAP'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    non_finite=dict(type='lfi.NonFiniteHook'),
    concept_check=dict(type='lfi.ConceptCheckHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
)
