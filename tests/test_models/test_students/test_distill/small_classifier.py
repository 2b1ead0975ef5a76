"""A small classifier that learns from interactions, and a batch for it."""

import torch
from mmpretrain.structures import DataSample

NAMES = ['circle', 'square', 'star', 'ring', 'heart', 'leaf']
CLASSES = 4
NORMALISE = dict(mean=[100.0, 120.0, 140.0], std=[50.0, 60.0, 70.0])
ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
TERMS = ('positions', 'concepts', 'presence')
VIT = dict(arch=ARCH, img_size=32, patch_size=8)
BACKBONE = dict(**VIT, num_queries=8)
HEAD = dict(type='mmpretrain.LinearClsHead', num_classes=CLASSES, in_channels=16)


def batch(size=(32, 32), shapes=(None, None, None), labels=(0, 3, 1)):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(len(shapes), 3, *size, generator=generator)
    samples = [
        DataSample(metainfo=dict(img_shape=shape or size, num_classes=CLASSES)).set_gt_label(label)
        for shape, label in zip(shapes, labels)
    ]
    return inputs, samples
