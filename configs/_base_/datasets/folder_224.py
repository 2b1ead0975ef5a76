# All images below a folder, without labels, at 224 pixels.
data_root = '{{$LFI_DATA_ROOT:data}}/images'

data_preprocessor = dict(
    _scope_='mmpretrain',
    type='ClsDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # Record views for model.teacher.cache.
    dict(
        _scope_='mmpretrain',
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.35, 1.0), interpolation='bicubic'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    dict(_scope_='mmpretrain', type='PackInputs', algorithm_keys=('view', 'interaction_maps')),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(_scope_='mmpretrain', type='ResizeEdge', scale=256, edge='short', interpolation='bicubic'),
    dict(_scope_='mmpretrain', type='CenterCrop', crop_size=224),
    dict(_scope_='mmpretrain', type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(_scope_='mmpretrain', type='lfi.ImageFolder', data_root=data_root, pipeline=train_pipeline),
)
# lfi infer uses this pipeline. There are no labels, and so no metrics.
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(_scope_='mmpretrain', type='lfi.ImageFolder', data_root=data_root, pipeline=test_pipeline),
)
test_evaluator = []
