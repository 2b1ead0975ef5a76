"""Each parameter's rate, for classifiers and detectors; configs' own are tested with the configs."""

import pytest
import torch
from lfi.engine.layer_decay import LayerDecayOptimWrapperConstructor
from lfi.models import InteractionQueryViT
from lfi.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

BACKBONE = dict(
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    num_queries=3,
    img_size=32,
    patch_size=8,
    with_cls_token=False,
    out_type='featmap',
    window_size=2,
    use_rel_pos=True,
)


class Model(nn.Module):
    """As a detector: a backbone, and what knows nothing of its depth."""

    def __init__(self):
        super().__init__()
        self.backbone = InteractionQueryViT(**BACKBONE)
        self.neck = nn.Conv2d(16, 4, 1)


def optimizer(model):
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='lfi.LayerDecayOptimWrapperConstructor',
            optim_wrapper_cfg=dict(optimizer=dict(type='SGD', lr=8.0, weight_decay=0.1)),
            paramwise_cfg=dict(layer_decay_rate=0.5, flat_decay_mult=0.0),
        )
    )
    assert isinstance(constructor, LayerDecayOptimWrapperConstructor)
    return constructor(model)


def test_rates_fall_with_depth():
    model = Model()
    model.backbone.patch_embed.projection.bias.requires_grad_(False)
    rates = {group['param_name']: group['lr'] for group in optimizer(model).optimizer.param_groups}
    assert set(rates) == {name for name, p in model.named_parameters() if p.requires_grad}
    expected = {'neck.': 8, 'backbone.ln1.': 8, 'backbone.layers.1.': 4, 'backbone.layers.0.': 2}
    for name, rate in rates.items():
        assert rate == next((r for start, r in expected.items() if name.startswith(start)), 1), name
    assert {name for name, rate in rates.items() if rate == 1} == {
        'backbone.pos_embed',
        'backbone.interaction_queries',
        'backbone.patch_embed.projection.weight',
    }


def test_a_step_moves_each_layer_by_its_rate():
    model = Model()
    wrapper = optimizer(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    wrapper.step()
    moved = before['backbone.layers.0.query_gate'] - model.backbone.layers[0].query_gate
    assert moved.item() == pytest.approx(2)


def test_a_backbone_without_depth_is_refused():
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    with pytest.raises(TypeError, match='needs a backbone with get_layer_depth.*; Module has Linear'):
        optimizer(model)
