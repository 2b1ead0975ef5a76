# COCO with instance masks, loaded as in mmdet's configs; views are recorded for model.teacher.cache.
_base_ = 'mmdet::_base_/datasets/coco_instance.py'

data_root = '{{$LFI_DATA_ROOT:data}}/coco/'
pack_train_inputs = dict(
    _scope_='mmdet',
    type='PackDetInputs',
    meta_keys=(
        'img_id',
        'img_path',
        'ori_shape',
        'img_shape',
        'scale_factor',
        'flip',
        'flip_direction',
        'view',
        'interaction_maps',
    ),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        _scope_='mmdet',
        type='lfi.RecordView',
        transforms=[
            dict(type='Resize', scale=(1333, 800), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    pack_train_inputs,
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
