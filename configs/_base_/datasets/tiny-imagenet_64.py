# Tiny-ImageNet at its native 64 pixels; LFI_DATA_ROOT is the parent folder of tiny-imagenet-200.
data_root = '{{$LFI_DATA_ROOT:data}}/tiny-imagenet-200'
# Number of classes in wnids.txt: 200, or fewer for a subset.
num_classes = __import__('lfi.datasets', fromlist=['TinyImageNet']).TinyImageNet.count_classes(data_root)

data_preprocessor = dict(
    _scope_='mmpretrain',
    type='ClsDataPreprocessor',
    num_classes=num_classes,
    mean=[122.5, 114.3, 101.4],
    std=[70.5, 68.5, 71.9],
    to_rgb=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # Record views for model.teacher.cache.
    dict(
        _scope_='mmpretrain',
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.35, 1.0), interpolation='bicubic'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    dict(_scope_='mmpretrain', type='PackInputs', algorithm_keys=('view', 'interaction_maps')),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(_scope_='mmpretrain', type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        _scope_='mmpretrain',
        type='lfi.TinyImageNet',
        data_root=data_root,
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmpretrain',
        type='lfi.TinyImageNet',
        data_root=data_root,
        split='val',
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(_scope_='mmpretrain', type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
