"""A mixin before any other class, by name nowhere."""

import copy
import pickle

import pytest
import torch
from lfi.mixed_classes import mixed_class
from torch import nn


class Doubled:
    def forward(self, x):
        return 2 * super().forward(x)


DoubledLinear = mixed_class('Doubled', Doubled, nn.Linear)


class Named(DoubledLinear):
    """A subclass, which has a name."""


def test_one_class_of_each_pair():
    assert mixed_class('Doubled', Doubled, nn.Linear) is DoubledLinear
    assert DoubledLinear.__name__ == 'DoubledLinear' and DoubledLinear.__mro__[1:3] == (Doubled, nn.Linear)
    assert mixed_class('Doubled', Doubled, nn.Bilinear) is not DoubledLinear


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
