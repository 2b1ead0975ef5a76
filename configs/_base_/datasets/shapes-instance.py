# Shapes with boxes and instance masks, generated on the fly.
train_pipeline = [
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    # Record views for model.teacher.cache.
    dict(_scope_='mmdet', type='lfi.RecordView', transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='lfi.LoadInteractionMaps'),
    dict(
        _scope_='mmdet',
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'view', 'interaction_maps'),
    ),
]
test_pipeline = [
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    # Resize sets the scale factor by which predictions are scaled back.
    dict(_scope_='mmdet', type='Resize', scale_factor=1.0, keep_ratio=True),
    dict(
        _scope_='mmdet',
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'),
    ),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        _scope_='mmdet',
        type='lfi.Shapes',
        split='train',
        num_images=1200,
        img_size=96,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _scope_='mmdet', type='lfi.Shapes', split='val', num_images=400, img_size=96, pipeline=test_pipeline
    ),
)
# CocoMetric reads the ground truth from the samples.
val_evaluator = dict(_scope_='mmdet', type='CocoMetric', metric=['bbox', 'segm'])
test_dataloader = val_dataloader
test_evaluator = val_evaluator
