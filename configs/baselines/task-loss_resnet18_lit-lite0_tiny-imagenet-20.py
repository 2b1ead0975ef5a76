# A narrow ResNet-18 on 20 classes of Tiny-ImageNet, 64 px, from scratch, a CIFAR stem and a quarter of the channels, task
# loss alone: the baseline of lfi_resnet18_lit-lite0_tiny-imagenet-20.py.
#   LFI_DATA_ROOT=data python tools/train.py configs/baselines/task-loss_resnet18_lit-lite0_tiny-imagenet-20.py
_base_ = [
    '../_base_/datasets/tiny-imagenet-20_64.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=16, base_channels=16),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes={{_base_.num_classes}}, in_channels=128),
)
# Takes minutes on two cores.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=1, end=15, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=15)
auto_scale_lr = dict(base_batch_size=16)
