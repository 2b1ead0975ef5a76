# Localization by the student of lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py, against boxes and its teacher.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/test.py \
#       configs/evaluation/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet_semantic-consistency.py CHECKPOINT
_base_ = '../classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='lfi.LoadRegions'),
    dict(_scope_='mmpretrain', type='PackInputs', algorithm_keys=('regions',)),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_evaluator = [{{_base_.test_evaluator}}, dict(type='lfi.SemanticConsistencyMetric')]
default_hooks = dict(interactions=dict(type='lfi.InteractionMapsHook'))
