"""The divergence against torch's own function and against a value by hand."""

import torch
import torch.nn.functional as F
from lfi.models.losses.log_probabilities import kl


def distributions(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).softmax(1)


def test_it_equals_torchs_and_is_zero_when_equal():
    student, teacher = distributions(0, 3, 5, 2), distributions(1, 3, 5, 2)
    got = kl(student.log(), teacher.log(), 1)
    torch.testing.assert_close(got, F.kl_div(student.log(), teacher, reduction='none').sum(1))
    assert (got > 0).all()
    same = kl(student.log(), student.log(), 1)
    torch.testing.assert_close(same, torch.zeros(3, 2), atol=1e-6, rtol=0)


def test_a_location_that_both_exclude_adds_nothing_and_has_a_finite_gradient():
    student = torch.tensor([[0.3, -1.0, -1e9]], requires_grad=True)
    teacher = torch.tensor([[0.1, 0.2, -1e9]]).log_softmax(1)
    got = kl(student.log_softmax(1), teacher, 1)
    torch.testing.assert_close(got, kl(student[:, :2].log_softmax(1), teacher[:, :2], 1))
    got.sum().backward()
    assert student.grad.isfinite().all()
    assert student.grad[0, 2] == 0
