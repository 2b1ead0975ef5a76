"""Modes, wrappers, weights and mixed classes of models."""

import copy
import pickle

import pytest
import torch
from lfi.utils.modules import class_with_mixin, eval_mode, load_strictly, state_dict_of, unwrap_model
from mmengine.model import BaseModel, BaseTTAModel
from mmpretrain.models.backbones import SwinTransformerV2
from torch import nn


class Keeps(nn.Linear):
    """Keeps for tests what training changes, and forgets it in training, as LeViT's attention does."""

    kept = None

    def train(self, mode=True):
        self.kept = None if mode else self.weight.detach().clone()
        return super().train(mode)


class Frozen(nn.Sequential):
    """Its first part is never in training mode, as the frozen stages of OpenMMLab's backbones."""

    def train(self, mode=True):
        super().train(mode)
        self[0].eval()
        return self


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


@pytest.fixture
def model():
    frozen = Frozen(nn.BatchNorm1d(2), nn.Dropout())
    return nn.Sequential(nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), frozen, Keeps(2, 2)).train()


def test_each_module_comes_back_to_its_own_mode(model):
    model[0][0].eval()
    # Against what its parent's train() would do.
    model[1][0].train()
    before = modes(model)
    assert set(before.values()) == {True, False}
    with eval_mode(model):
        assert not any(modes(model).values())
    assert modes(model) == before


def test_an_error_brings_the_modes_back_too(model):
    before = modes(model)
    with pytest.raises(KeyError), eval_mode(model):
        raise KeyError
    assert modes(model) == before


@pytest.mark.parametrize('training', [True, False])
def test_what_a_module_keeps_for_tests_is_that_of_its_mode(model, training):
    model[2].train(training)
    with eval_mode(model):
        assert torch.equal(model[2].kept, model[2].weight)
    assert (model[2].kept is None) == training


def test_nothing_is_done_to_a_model_in_evaluation_mode(model):
    kept = model.eval()[2].kept
    with eval_mode(model):
        pass
    assert model[2].kept is kept and not any(modes(model).values())


def test_a_module_may_stand_in_several_places(model):
    shared = nn.Sequential(model[0], nn.Sequential(model[0][1])).train()
    shared[0].eval()
    before = modes(shared)
    with eval_mode(shared):
        assert not any(modes(shared).values())
    assert modes(shared) == before


class Model(BaseModel):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


class TTA(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


def test_a_model_is_taken_out_of_what_runs_it():
    model = Model()
    assert unwrap_model(model) is model
    assert unwrap_model(TTA(model)) is model
    assert unwrap_model(nn.DataParallel(TTA(model))) is model


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


class Doubled:
    def forward(self, x):
        return 2 * super().forward(x)


DoubledLinear = class_with_mixin('Doubled', Doubled, nn.Linear)


class Named(DoubledLinear):
    """A subclass, which has a name."""


def test_one_class_of_each_pair():
    assert class_with_mixin('Doubled', Doubled, nn.Linear) is DoubledLinear
    assert DoubledLinear.__name__ == 'DoubledLinear' and DoubledLinear.__mro__[1:3] == (Doubled, nn.Linear)
    assert class_with_mixin('Doubled', Doubled, nn.Bilinear) is not DoubledLinear


@pytest.mark.parametrize('again', [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize('kind', [DoubledLinear, Named])
def test_instances_go_through_copy_and_pickle_as_what_they_are(kind, again):
    model = kind(2, 3)
    copied = again(model)
    x = torch.ones(1, 2)
    assert (
        type(copied) is kind
        and copied(x).equal(model(x))
        and copied(x).equal(2 * nn.Linear.forward(model, x))
    )


def test_a_copy_of_a_compiled_model_has_its_own_weights():
    model = DoubledLinear(2, 3)
    model.compile(backend='eager')
    copied = copy.deepcopy(model)
    nn.init.zeros_(copied.weight)
    nn.init.zeros_(copied.bias)
    assert not copied(torch.ones(1, 2)).any()
