"""Each divergence against torch's own functions and against values by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from lfi.models.losses.divergences import DIVERGENCES, cosine, js, kl, mse


def torch_kl(student, teacher):
    return F.kl_div(student.log(), teacher, reduction='none')


REFERENCES = {
    'kl': torch_kl,
    'js': lambda s, t: (torch_kl((s + t) / 2, t) + torch_kl((s + t) / 2, s)) / 2,
    'mse': lambda s, t: F.mse_loss(s, t, reduction='none'),
    'cosine': lambda s, t: 1 / s.shape[1] - F.normalize(s, dim=1) * F.normalize(t, dim=1),
}


def distributions(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).softmax(1)


@pytest.mark.parametrize('name', sorted(DIVERGENCES))
def test_a_divergence_equals_torchs_formula_and_is_zero_when_equal(name):
    student, teacher = distributions(0, 3, 5, 2), distributions(1, 3, 5, 2)
    got = DIVERGENCES[name](student.log(), teacher.log(), 1)
    torch.testing.assert_close(got, REFERENCES[name](student, teacher).sum(1))
    assert (got > 0).all()
    same = DIVERGENCES[name](student.log(), student.log(), 1)
    torch.testing.assert_close(same, torch.zeros(3, 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ('divergence', 'expected'),
    [
        # Teacher (1/2, 1/2), student (1/4, 3/4).
        (kl, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
        (
            js,
            (0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5) + 0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5))
            / 2,
        ),
        (mse, 0.125),
        (cosine, 1 - 2 / math.sqrt(5)),
    ],
)
def test_a_divergence_by_hand(divergence, expected):
    got = divergence(torch.tensor([0.25, 0.75]).log(), torch.tensor([0.5, 0.5]).log(), 0)
    assert got.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('name', sorted(DIVERGENCES))
def test_a_place_that_both_exclude_adds_nothing_and_has_a_finite_gradient(name):
    student = torch.tensor([[0.3, -1.0, -1e9]], requires_grad=True)
    teacher = torch.tensor([[0.1, 0.2, -1e9]]).log_softmax(1)
    got = DIVERGENCES[name](student.log_softmax(1), teacher, 1)
    without = DIVERGENCES[name](student[:, :2].log_softmax(1), teacher[:, :2], 1)
    torch.testing.assert_close(got, without)
    got.sum().backward()
    assert student.grad.isfinite().all()
    assert student.grad[0, 2] == 0
