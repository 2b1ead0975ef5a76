# ViT-Tiny/8 on Tiny-ImageNet, 64 px, from scratch, task loss alone: the baseline of
# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py and lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py.
#   LFI_DATA_ROOT=data python tools/train.py configs/baselines/task-loss_vit-tiny-p8_tiny-imagenet.py
_base_ = [
    '../_base_/models/vit-tiny-p8_64.py',
    '../_base_/datasets/tiny-imagenet_64.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(head=dict(num_classes={{_base_.num_classes}}, loss=dict(num_classes={{_base_.num_classes}})))
