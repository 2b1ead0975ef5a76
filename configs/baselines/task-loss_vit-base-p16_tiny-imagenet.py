# ViT-Base/16 on Tiny-ImageNet, 224 px, from MAE's self-supervised weights, task loss alone: the baseline of
# lfi_vit-base-p16_clip-b16_tiny-imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_vit-base-p16_tiny-imagenet.py 2
_base_ = [
    '../_base_/datasets/tiny-imagenet_224.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        # Self-supervised on ImageNet-1k without labels: Tiny-ImageNet's classes are among ImageNet's.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://mmassets.onedl.ai/mmselfsup/1.x/mae/'
            'mae_vit-base-p16_8xb512-fp16-coslr-300e_in1k/'
            'mae_vit-base-p16_8xb512-coslr-300e-fp16_in1k_20220829-c2cf66ba.pth',
            prefix='backbone.',
        ),
    ),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes={{_base_.num_classes}},
        in_channels=768,
        loss=dict(
            type='LabelSmoothLoss',
            label_smooth_val=0.1,
            mode='original',
            num_classes={{_base_.num_classes}},
        ),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
)
# 2 GPUs x 64 images; a fine-tuning schedule, with layer-wise decay of the learning rate.
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=2, end=20, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=20)
