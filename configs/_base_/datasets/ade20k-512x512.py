# ADE20K at 512 x 512 pixels, loaded as in mmseg's configs; views are recorded for model.teacher.cache.
_base_ = 'mmseg::_base_/datasets/ade20k.py'

data_root = '{{$LFI_DATA_ROOT:data}}/ade/ADEChallengeData2016'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PhotoMetricDistortion'),
    dict(type='lfi.LoadInteractionMaps'),
    dict(
        type='PackSegInputs',
        meta_keys=(
            'img_path',
            'seg_map_path',
            'ori_shape',
            'img_shape',
            'pad_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'reduce_zero_label',
            'view',
            'interaction_maps',
        ),
    ),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
