# Shapes, generated on the fly.
num_classes = 20
data_preprocessor = dict(
    _scope_='mmpretrain',
    type='ClsDataPreprocessor',
    num_classes=num_classes,
    mean=[127.5, 127.5, 127.5],
    std=[64.0, 64.0, 64.0],
    to_rgb=True,
)
train_pipeline = [
    # Record views for model.teacher.cache.
    dict(
        _scope_='mmpretrain',
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.6, 1.0), interpolation='bilinear'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    dict(_scope_='mmpretrain', type='PackInputs', algorithm_keys=('view', 'interaction_maps')),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        _scope_='mmpretrain', type='lfi.Shapes', split='train', num_images=3200, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=200,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmpretrain',
        type='lfi.Shapes',
        split='val',
        num_images=1000,
        pipeline=[dict(_scope_='mmpretrain', type='PackInputs')],
    ),
)
val_evaluator = dict(_scope_='mmpretrain', type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
