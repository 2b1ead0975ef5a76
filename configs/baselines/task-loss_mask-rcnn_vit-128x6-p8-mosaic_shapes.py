# A small Mask R-CNN on mosaics of the built-in Shapes data, task loss alone: the baseline of
# lfi_mask-rcnn_vit-128x6-p8-mosaic_shapes.py. Mosaics of four images are resized and cropped with their
# masks, as in RTMDet-Ins: mmdet's Mosaic and RandomAffine do not transform masks.
#   python tools/train.py configs/baselines/task-loss_mask-rcnn_vit-128x6-p8-mosaic_shapes.py
_base_ = './task-loss_mask-rcnn_vit-128x6-p8_shapes.py'
train_pipeline = [
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='lfi.RecordedCachedMosaic', img_scale=(96, 96), pad_val=127.0, prob=0.5),
    dict(
        _scope_='mmdet',
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResize', scale=(96, 96), ratio_range=(1.0, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(96, 96), recompute_bbox=True),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(_scope_='mmdet', type='FilterAnnotations', min_gt_bbox_wh=(4, 4)),
    dict(type='lfi.LoadInteractionMaps'),
    dict(
        _scope_='mmdet',
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'view', 'interaction_maps'),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
