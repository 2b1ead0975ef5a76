"""A pretraining whose losses leave weights of the features untrained is refused in its first step."""

import pytest
import torch
from lfi.models.students.untrained_weights import check_losses_reach
from torch import nn
from torch.utils.checkpoint import checkpoint


class Backbone(nn.Module):
    """Two layers; the first has an output of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 5)
        self.unused = nn.Linear(3, 3)

    def forward(self, x, keep=lambda layer, x: layer(x)):
        first = keep(self.first, x)
        return first, self.last(first)


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return Backbone()


def test_a_layer_after_the_last_read_is_named(backbone):
    first, last = backbone(torch.rand(2, 3))
    check_losses_reach(backbone, [first, last], [last.sum()])
    check_losses_reach(backbone, [first, last], [[first.sum(), last.sum()]])
    # As many losses as before, but of the first output alone.
    check_losses_reach(backbone, [first], [first.sum()])
    with pytest.raises(
        ValueError, match=r'no loss reaches 1 weights of the backbone, such as backbone\.last'
    ):
        check_losses_reach(backbone, [first, last], [first.sum()])


def test_a_zero_gradient_is_a_gradient(backbone):
    first, last = backbone(torch.rand(2, 3))
    check_losses_reach(backbone, [first, last], [(last * 0).sum()])


def test_hidden_parts_of_a_graph_are_not_judged(backbone):
    def keep(layer, x):
        return checkpoint(layer, x.requires_grad_(), use_reentrant=True)

    first, last = backbone(torch.rand(2, 3), keep)
    check_losses_reach(backbone, [first, last], [first.sum()])
