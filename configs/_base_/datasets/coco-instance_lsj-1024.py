# COCO with instance masks and large-scale jitter on 1024 x 1024 pixels, four passes an epoch.
_base_ = './coco-instance.py'

image_size = (1024, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        _scope_='mmdet',
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
            dict(
                type='RandomCrop',
                crop_type='absolute_range',
                crop_size=image_size,
                recompute_bbox=True,
                allow_negative_crop=True,
            ),
            dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    {{_base_.pack_train_inputs}},
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(_scope_='mmdet', type='Resize', scale=image_size, keep_ratio=True),
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        _scope_='mmdet',
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=8,
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        _scope_='mmdet',
        type='RepeatDataset',
        times=4,
        dataset=dict(
            type='CocoDataset',
            data_root={{_base_.data_root}},
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
