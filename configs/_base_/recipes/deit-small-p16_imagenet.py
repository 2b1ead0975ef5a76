# DeiT-Small/16 on ImageNet-1k by mmpretrain's own recipe.
_base_ = 'mmpretrain::deit/deit-small_4xb256_in1k.py'

custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
data_root = '{{$LFI_DATA_ROOT:data}}/imagenet'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
# Parameters that only the LFI model has; its schedule is otherwise mmpretrain's.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            '.interaction_queries': dict(decay_mult=0.0),
            '.query_gate': dict(decay_mult=0.0),
        },
    ),
)
default_hooks = dict(
    non_finite=dict(type='lfi.NonFiniteHook'), concept_check=dict(type='lfi.ConceptCheckHook')
)
