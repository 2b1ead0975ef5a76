"""Models in training that are asked something in between."""

import pytest
import torch
from lfi.eval_mode import eval_mode
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
