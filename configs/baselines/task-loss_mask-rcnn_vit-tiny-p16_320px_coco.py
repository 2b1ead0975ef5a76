# Mask R-CNN on COCO at 320 px, ViT-Tiny/16 from scratch, for a trial on a CPU: task loss alone, the baseline of
# lfi_mask-rcnn_vit-tiny-p16_lit-lite0_320px_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_mask-rcnn_vit-tiny-p16_320px_coco.py 2
_base_ = [
    '../_base_/models/mask-rcnn_vit-tiny-p16_simple-fpn.py',
    '../_base_/datasets/coco-instance_320.py',
    '../_base_/schedules/adamw_1x.py',
    '../_base_/detection_runtime.py',
]

channels = 128
model = dict(
    type='lfi.Student',
    task='mmdet.MaskRCNN',
    backbone=dict(img_size=320, window_size=10, init_cfg=None, stem=dict(type='lfi.ConvStem')),
    neck=dict(out_channels=channels),
    rpn_head=dict(num_convs=1, in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=channels, conv_out_channels=channels, fc_out_channels=512
        ),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(in_channels=channels, conv_out_channels=channels),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=200), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(max_per_img=200)),
    # A ViT trained from scratch needs the affinity prior.
    supervision=dict(prior=dict(type='lfi.AffinityPrior')),
)
# All layers have the same learning rate, since the ViT is trained from scratch.
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=1, end=12, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=8)
# Synchronize the batch norms of the stem.
default_hooks = dict(sync_buffers=dict(type='SyncBuffersHook'))
