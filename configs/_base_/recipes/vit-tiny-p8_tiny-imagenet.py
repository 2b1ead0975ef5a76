# ViT-Tiny/8 on Tiny-ImageNet, 64 px, from scratch.
_base_ = [
    '../models/vit-tiny-p8_64.py',
    '../datasets/tiny-imagenet_64.py',
    '../schedules/adamw_100e.py',
    '../default_runtime.py',
]
model = dict(head=dict(num_classes={{_base_.num_classes}}, loss=dict(num_classes={{_base_.num_classes}})))
