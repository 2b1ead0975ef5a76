"""Stages are found by running a backbone."""

import torch
from lfi.adaptation.stages import last_stages, output_maps
from torch import nn


class Net(nn.Module):
    """Three stages of strides 2, 4 and 8 under one module; what pools and what runs twice are none."""

    def __init__(self, out='map'):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
            for _ in range(2)
        )
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.out = out

    def forward(self, x):
        x = self.norm(self.stem(x))
        for stage in self.stages:
            x = stage(x)
        self.norm(x)
        pooled = self.pool(x)
        return {'map': (x,), 'vector': (pooled.flatten(1),), 'coarser': (nn.functional.max_pool2d(x, 2),)}[
            self.out
        ]


def test_a_stage_ends_with_its_last_and_highest_module():
    net = Net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert last_stages(net, 64) == ('stages.0', 'stages.1')
    assert net.training and not net.stem._forward_hooks and not net._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert last_stages(Net('vector'), 64) == ('stages.0', 'stages.1')


class Wrapped(nn.Module):
    """A backbone inside another one, that ends in what hands on its input, as timm's in mmpretrain."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Identity())

    def forward(self, x):
        return (self.net(x),)


def test_a_module_around_all_stages_is_none_and_neither_is_what_does_nothing():
    assert last_stages(Wrapped(), 64) == ('net.0', 'net.1')


class Blocks(nn.Module):
    """A stem and blocks of one grid; or blocks of tokens after it."""

    def __init__(self, tokens=False):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 8, 2, 2))
        self.blocks = nn.ModuleList(nn.Linear(8, 8) if tokens else nn.Conv2d(8, 8, 1) for _ in range(12))
        self.tokens = tokens

    def forward(self, x):
        x = self.stem(x)
        x = x.flatten(2).mT if self.tokens else x
        for block in self.blocks:
            x = block(x)
        return (x.mean(1 if self.tokens else (2, 3)),)


def test_blocks_of_one_grid_are_read_in_the_middle_and_at_the_end():
    assert last_stages(Blocks(), 64) == ('blocks.5', 'blocks.11')


def test_maps_before_most_of_the_weights_are_no_stages():
    assert last_stages(Blocks(tokens=True), 64) == ()


def test_modules_whose_maps_are_not_the_output_are_no_stages():
    assert last_stages(Net('coarser'), 64) == ()


def test_outputs_that_are_no_maps_are_none():
    assert [each.stride for each in output_maps(Net(), 64)] == [(8, 8)]
    assert output_maps(Net('vector'), 64) == []
