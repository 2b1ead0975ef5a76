# A small ViT on all domains of the built-in Shapes data but one, task loss alone: the baseline of
# lfi_vit-128x6-p8_shapes-domains.py. python -m research benchmark-dg runs both for each domain.
#   LFI_TARGET_DOMAIN=sketch python tools/train.py configs/baselines/task-loss_vit-128x6-p8_shapes-domains.py
_base_ = './task-loss_vit-128x6-p8_shapes.py'

target_domain = '{{$LFI_TARGET_DOMAIN:sketch}}'
source_domains = __import__('lfi.datasets', fromlist=['leave_out']).leave_out(
    ('photo', 'painting', 'cartoon', 'sketch'), target_domain
)
meta_keys = ('sample_idx', 'img_path', 'ori_shape', 'img_shape', 'domain')
train_pipeline = [
    # Record views for model.teacher.cache.
    dict(
        _scope_='mmpretrain',
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.6, 1.0), interpolation='bilinear'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ],
    ),
    dict(type='lfi.LoadInteractionMaps'),
    dict(
        _scope_='mmpretrain',
        type='PackInputs',
        algorithm_keys=('view', 'interaction_maps'),
        meta_keys=meta_keys,
    ),
]
test_pipeline = [dict(_scope_='mmpretrain', type='PackInputs', meta_keys=meta_keys)]
train_dataloader = dict(dataset=dict(domains=source_domains, seed=0, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(domains=source_domains, seed=0, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(split='test', domains=[target_domain], pipeline=test_pipeline))
val_evaluator = [
    dict(_scope_='mmpretrain', type='Accuracy', topk=(1,)),
    dict(type='lfi.DomainGeneralizationMetric'),
]
test_evaluator = val_evaluator
# DomainBed's training-domain validation: model selection does not use the target domain.
default_hooks = dict(checkpoint=dict(save_best='domain/mean', rule='greater'))
