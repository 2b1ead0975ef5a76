# Localization by the student of lfi_vit-128x6-p8_shapes.py, against the shapes' masks and its teacher.
#   python tools/test.py configs/evaluation/lfi_vit-128x6-p8_shapes_semantic-consistency.py CHECKPOINT
_base_ = '../classification/lfi_vit-128x6-p8_shapes.py'

test_pipeline = [
    dict(type='lfi.LoadRegions'),
    dict(_scope_='mmpretrain', type='PackInputs', algorithm_keys=('regions',)),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_evaluator = [{{_base_.test_evaluator}}, dict(type='lfi.SemanticConsistencyMetric')]
default_hooks = dict(interactions=dict(type='lfi.InteractionMapsHook'))
