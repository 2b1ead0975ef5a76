# Base of data sets with several domains at 64 pixels, for small students. Validation images are a held-out fifth
# of the training domains, by DomainBed's protocol.
data_preprocessor = dict(
    _scope_='mmpretrain',
    type='ClsDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
meta_keys = ('sample_idx', 'img_path', 'ori_shape', 'img_shape', 'domain')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # Record views for model.teacher.cache.
    dict(
        _scope_='mmpretrain',
        type='lfi.RecordView',
        transforms=[
            dict(
                type='RandomResizedCrop',
                scale=64,
                crop_ratio_range=(0.35, 1.0),
                # Pillow filters when it shrinks images.
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    dict(
        _scope_='mmpretrain',
        type='PackInputs',
        algorithm_keys=('view', 'interaction_maps'),
        meta_keys=meta_keys,
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    dict(_scope_='mmpretrain', type='PackInputs', meta_keys=meta_keys),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        _scope_='mmpretrain',
        split='train',
        seed=0,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmpretrain',
        split='val',
        seed=0,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmpretrain',
        split='all',
        pipeline=test_pipeline,
    ),
)
val_evaluator = [
    dict(_scope_='mmpretrain', type='Accuracy', topk=(1,)),
    dict(type='lfi.DomainGeneralizationMetric'),
]
test_evaluator = val_evaluator
