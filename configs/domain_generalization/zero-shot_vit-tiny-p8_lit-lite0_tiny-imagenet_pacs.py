# Zero-shot classification of PACS by presence, with a student trained on Tiny-ImageNet.
# CHECKPOINT was trained with configs/classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/test.py \
#       configs/domain_generalization/zero-shot_vit-tiny-p8_lit-lite0_tiny-imagenet_pacs.py CHECKPOINT
_base_ = '../classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py'

model = dict(
    head=None,
    predict_by=dict(type='lfi.ByTexts', concepts=dict(type='lfi.PACS'), templates=['a photo of a {}.']),
)
data_preprocessor = dict(num_classes=7)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        _scope_='mmpretrain',
        type='lfi.PACS',
        data_root='{{$LFI_DATA_ROOT:data}}/PACS',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
            dict(
                _scope_='mmpretrain',
                type='PackInputs',
                meta_keys=('sample_idx', 'img_path', 'ori_shape', 'img_shape', 'domain'),
            ),
        ],
    )
)
test_evaluator = dict(_delete_=True, type='lfi.DomainGeneralizationMetric')
