# DeiT-Small/16 on ImageNet-1k by mmpretrain's own recipe, task loss alone: the baseline of
# lfi_deit-small-p16_clip-b16_imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_deit-small-p16_imagenet.py 4
_base_ = 'mmpretrain::deit/deit-small_4xb256_in1k.py'

custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
data_root = '{{$LFI_DATA_ROOT:data}}/imagenet'
# Augmentation of mmpretrain's recipe. Views and erased rectangles are recorded for a cache.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(
                type='RandAugment',
                policies='timm_increasing',
                num_policies=2,
                total_level=10,
                magnitude_level=9,
                magnitude_std=0.5,
                hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
            ),
            dict(
                type='RandomErasing',
                erase_prob=0.25,
                mode='rand',
                min_area_ratio=0.02,
                max_area_ratio=1 / 3,
                fill_color=[103.53, 116.28, 123.675],
                fill_std=[57.375, 57.12, 58.395],
            ),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    dict(type='PackInputs', algorithm_keys=('view', 'interaction_maps')),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
# No weight decay for the parameters of LFI. The schedule is otherwise mmpretrain's.
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
