"""Folding leaves outputs as they are, and batch norms that no convolution feeds alone."""

import pytest
import timm
import torch
from lfi.models.teachers.batch_norms import fold_batch_norms
from torch import nn


def randomised(model):
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize('name', ['test_efficientnet', 'test_resnet', 'tf_efficientnet_lite0', 'lcnet_035'])
def test_a_cnn_gives_the_same_without_any(name):
    model = randomised(timm.create_model(name, num_classes=3))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        folded = fold_batch_norms(model)
        assert folded > 5 and norms(model) == 0
        torch.testing.assert_close(
            model(images), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item()
        )
        # The second time there is nothing left to do.
        assert fold_batch_norms(model) == 0


class Branches(nn.Module):
    """Norms that may not be folded, and one that may."""

    def __init__(self):
        super().__init__()
        self.twice, self.shared, self.alone = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.first, self.second, self.third, self.fourth = (nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, x):
        x = self.first(self.twice(x)) + self.second(self.twice(x))
        read = self.shared(x)
        return self.third(read) + read + self.fourth(self.alone(x))


def test_a_convolution_with_other_readers_keeps_its_norm():
    model = randomised(Branches())
    images = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        expected = model(images)
        assert fold_batch_norms(model) == 1
        torch.testing.assert_close(model(images), expected)
    assert norms(model) == 3 and isinstance(model.fourth, nn.Identity)


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else x


def test_a_tower_that_cannot_be_traced_stays_as_it_is():
    model = Untraceable().eval()
    assert fold_batch_norms(model) == 0 and norms(model) == 1
