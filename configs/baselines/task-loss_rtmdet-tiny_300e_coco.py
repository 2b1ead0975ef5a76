# RTMDet-tiny on COCO, 300 epochs, by mmdet's own recipe without Mosaic and MixUp:
# task loss alone, the baseline of lfi_rtmdet-tiny_300e_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_rtmdet-tiny_300e_coco.py 8
_base_ = ['mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py']

custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
model = dict(
    # Pad in the preprocessor, so that padding is known to be invalid.
    data_preprocessor=dict(pad_size_divisor=32),
    # The host of mmdet's address no longer exists.
    backbone=dict(
        init_cfg=dict(
            checkpoint='https://mmassets.onedl.ai/mmdetection/v3.0/rtmdet/cspnext_rsb_pretrain/'
            'cspnext-tiny_imagenet_600e.pth'
        )
    ),
)
data_root = '{{$LFI_DATA_ROOT:data}}/coco/'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='lfi.RecordView',
        transforms=[
            dict(type='RandomResize', scale=(1280, 1280), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(640, 640)),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='lfi.LoadInteractionMaps'),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'view',
            'interaction_maps',
        ),
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
default_hooks = dict(
    non_finite=dict(type='lfi.NonFiniteHook'), concept_check=dict(type='lfi.ConceptCheckHook')
)
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True, priority=49),
    dict(type='NumClassCheckHook'),
]
# 8 GPUs x 32 images.
auto_scale_lr = dict(base_batch_size=256)
