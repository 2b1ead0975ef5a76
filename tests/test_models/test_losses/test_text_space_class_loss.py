"""`TextSpaceClassLoss` against torch's cross-entropy."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models import TextSpaceClassLoss


def scores(b=4, c=5):
    return 3 * torch.randn(b, c, generator=torch.Generator().manual_seed(0))


def test_one_label_an_image_is_torchs_cross_entropy():
    labels = torch.tensor([3, 0, 4, 1])
    got = TextSpaceClassLoss(loss_weight=0.7)(scores(), F.one_hot(labels, 5).float())
    torch.testing.assert_close(got, 0.7 * F.cross_entropy(scores(), labels))


def test_several_labels_share_an_image_by_their_weights():
    labels = torch.tensor([[0.5, 0.0, 1.0, 0.0, 0.5], [0.2, 0.0, 0.0, 0.0, 0.0]])
    target = torch.tensor([[0.25, 0, 0.5, 0, 0.25], [1.0, 0, 0, 0, 0]])
    got = TextSpaceClassLoss(loss_weight=1)(scores(2), labels)
    torch.testing.assert_close(got, F.cross_entropy(scores(2), target))


def test_an_image_without_label_changes_neither_loss_nor_gradient():
    labels = F.one_hot(torch.tensor([3, 0, 4, 1]), 5).float()
    labels[1:3] = 0
    full = scores().requires_grad_()
    loss = TextSpaceClassLoss()(full, labels)
    loss.backward()
    torch.testing.assert_close(loss.detach(), TextSpaceClassLoss()(scores()[[0, 3]], labels[[0, 3]]))
    assert not full.grad[1:3].any()
    assert full.grad[[0, 3]].any(1).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_batch_without_labels_gives_exactly_zero(dtype):
    x = scores().to(dtype).requires_grad_()
    loss = TextSpaceClassLoss()(x, torch.zeros(4, 5))
    loss.backward()
    assert loss.item() == 0
    assert loss.dtype == torch.float32
    assert not x.grad.any()
