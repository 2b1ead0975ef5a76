# COCO with instance masks at 320 pixels, for a CPU.
_base_ = './coco-instance.py'

image_size = (320, 320)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        _scope_='mmdet',
        type='lfi.RecordView',
        transforms=[
            dict(type='Resize', scale=image_size, keep_ratio=True),
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
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
