# Tiny-ImageNet resized to 224 pixels, for pretrained students.
_base_ = './tiny-imagenet_64.py'

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
    dict(type='Resize', scale=(224, 224), interpolation='bicubic'),
    dict(_scope_='mmpretrain', type='PackInputs'),
]
train_dataloader = dict(batch_size=64, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
