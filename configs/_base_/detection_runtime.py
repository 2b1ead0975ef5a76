_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3, save_best='coco/segm_mAP'),
    non_finite=dict(type='lfi.NonFiniteHook'),
    concept_check=dict(type='lfi.ConceptCheckHook'),
)
# Check before the first step that the head has the number of classes of the data set.
custom_hooks = [dict(type='NumClassCheckHook')]
randomness = dict(seed=0, deterministic=False)
