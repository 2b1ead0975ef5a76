# Localization by the student of lfi_mask-rcnn_vit-128x6-p8_shapes.py, against the shapes' masks and its teacher.
#   python tools/test.py configs/evaluation/lfi_mask-rcnn_vit-128x6-p8_shapes_semantic-consistency.py CHECKPOINT
_base_ = '../detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'

test_pipeline = [
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='lfi.LoadRegions', transforms=[dict(type='Resize', scale_factor=1.0, keep_ratio=True)]),
    dict(
        _scope_='mmdet',
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances', 'regions'),
    ),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_evaluator = [{{_base_.test_evaluator}}, dict(type='lfi.SemanticConsistencyMetric')]
default_hooks = dict(interactions=dict(type='lfi.InteractionMapsHook'))
