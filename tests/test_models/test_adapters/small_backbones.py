"""Small backbones of several projects."""

import copy

from lfi.registry import MODELS

NARROW = dict(stem_channels=8, base_channels=8)
BACKBONES = {
    'resnet': dict(backbone=dict(type='mmpretrain.ResNet', depth=18, out_indices=(2, 3), **NARROW)),
    'resnet_by_names': dict(
        backbone=dict(type='mmpretrain.ResNet', depth=18, **NARROW), reads=('layer3', 'layer4')
    ),
    'mmdet_resnet': dict(
        backbone=dict(type='mmdet.ResNet', depth=18, frozen_stages=1, norm_eval=True, **NARROW)
    ),
    'swin': dict(
        backbone=dict(
            type='mmpretrain.SwinTransformer',
            arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
            img_size=64,
            out_indices=(2, 3),
            pad_small_map=True,
        )
    ),
    'convnext': dict(
        backbone=dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16])),
        reads=('stages.2', 'stages.3'),
    ),
    'cspnext': dict(
        backbone=dict(type='mmdet.CSPNeXt', deepen_factor=0.1, widen_factor=0.0625, norm_cfg=dict(type='BN'))
    ),
    'timm': dict(
        backbone=dict(
            type='mmpretrain.TIMMBackbone', model_name='test_resnet', features_only=True, pretrained=False
        )
    ),
}


def build(cfg):
    return MODELS.build(copy.deepcopy(cfg))
