"""Logarithms of attention: a weight that is rounded to 0 is not what a map is scaled by."""

import torch
from lfi.models.teachers.extractors.base import MIN_ATTENTION, log_attention


def attention():
    return torch.rand(2, 3, 5, 8, 8, generator=torch.Generator().manual_seed(0)).flatten(-2).softmax(-1)


def test_it_is_the_logarithm():
    maps = attention().unflatten(-1, (8, 8))
    torch.testing.assert_close(log_attention(maps), maps.log())
    torch.testing.assert_close(log_attention(maps).flatten(-2).softmax(-1), attention())


def test_a_weight_of_zero_changes_no_other():
    maps = attention().unflatten(-1, (8, 8))
    holed = maps.clone()
    holed[..., 2, 3] = 0
    found, plain = log_attention(holed), log_attention(maps)
    elsewhere = torch.ones(8, 8, dtype=torch.bool)
    elsewhere[2, 3] = False
    assert torch.equal(found[..., elsewhere], plain[..., elsewhere])
    least = (MIN_ATTENTION * holed.mean((-2, -1))).log()
    torch.testing.assert_close(found[..., 2, 3], least)
    assert log_attention(torch.zeros(1, 4, 4)).isfinite().all()
