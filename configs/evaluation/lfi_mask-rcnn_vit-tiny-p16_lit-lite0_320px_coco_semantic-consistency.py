# Localization by the student of lfi_mask-rcnn_vit-tiny-p16_lit-lite0_320px_coco.py, against masks and its teacher.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/test.py \
#       configs/evaluation/lfi_mask-rcnn_vit-tiny-p16_lit-lite0_320px_coco_semantic-consistency.py CHECKPOINT
_base_ = '../detection/lfi_mask-rcnn_vit-tiny-p16_lit-lite0_320px_coco.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(_scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='lfi.LoadRegions', transforms=[dict(type='Resize', scale={{_base_.image_size}}, keep_ratio=True)]
    ),
    dict(
        _scope_='mmdet',
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'regions', 'crowds'),
    ),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_evaluator = [{{_base_.test_evaluator}}, dict(type='lfi.SemanticConsistencyMetric')]
default_hooks = dict(interactions=dict(type='lfi.InteractionMapsHook'))
