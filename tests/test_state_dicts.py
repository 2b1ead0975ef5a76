"""Weights load if they are the model's, and buffers that it computes itself need not be loaded."""

import pytest
import torch
from lfi.state_dicts import load_strictly, state_dict_of
from mmpretrain.models.backbones import SwinTransformerV2
from torch import nn

ARCH = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], extra_norm_every_n_blocks=0)


def test_weights_are_those_of_a_checkpoint_or_of_a_state_dict_and_have_the_names_of_their_model():
    weight = torch.ones(2)
    assert state_dict_of(dict(meta={}, state_dict={'module.head.weight': weight})) == {'head.weight': weight}
    assert state_dict_of({'head.module.weight': weight}) == {'head.module.weight': weight}


def test_a_model_gets_its_weights():
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    load_strictly(model, other.state_dict())
    assert model.weight.equal(other.weight)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(weight=None), r'Missing key\(s\) in state_dict: weight\. Unexpected .*: none'),
        (dict(gain=torch.ones(1)), r'Missing .*: none\. Unexpected key\(s\) in state_dict: gain\.'),
        (dict(weight=torch.ones(3, 3)), 'size mismatch for weight'),
    ],
)
def test_other_weights_are_refused(changes, message):
    state = {**nn.Linear(2, 3).state_dict(), **changes}
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(RuntimeError, match=message):
        load_strictly(nn.Linear(2, 3), state)


def test_buffers_that_a_model_drops_must_be_its_own():
    """torch's own strict loading refuses every state dict of this backbone."""
    state = SwinTransformerV2(ARCH, img_size=64, window_size=2).state_dict()
    built = SwinTransformerV2(ARCH, img_size=64, window_size=2)
    load_strictly(built, state)
    assert all(built.state_dict()[name].equal(value) for name, value in state.items())
    table = next(name for name in state if name.endswith('relative_coords_table'))
    with pytest.raises(RuntimeError, match=f'Missing .*{table}'):
        load_strictly(built, {**state, table: state[table] + 1})
    with pytest.raises(RuntimeError, match=f'Missing .*{table}'):
        load_strictly(built, {name: value for name, value in state.items() if name != table})
