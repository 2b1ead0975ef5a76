# Shapes with boxes and instance masks: procedural, nothing on disk.
train_pipeline = [
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    # What a view shows is recorded for CachedTeacher.
    dict(type='lfi.RecordView', transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'view')),
]
test_pipeline = [
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    # Predictions are scaled back by the factor it notes.
    dict(type='Resize', scale_factor=1.0, keep_ratio=True),
    dict(
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
    dataset=dict(type='lfi.Shapes', split='train', num_images=1200, img_size=96, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='lfi.Shapes', split='val', num_images=400, img_size=96, pipeline=test_pipeline),
)
# The ground truth comes with the images.
val_evaluator = dict(type='CocoMetric', metric=['bbox', 'segm'])
test_dataloader = val_dataloader
test_evaluator = val_evaluator
