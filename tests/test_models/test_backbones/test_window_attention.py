"""Windowed attention against full attention with a mask, computed the slow way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.models.backbones.window_attention import attend_in_windows
from torch.nn.functional import scaled_dot_product_attention


def attend(q, k, v, grid, mask):
    return scaled_dot_product_attention(q, k, v, mask)


def same_window(grid, window):
    """(N, N) bool: whether two patches lie in the same window."""
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing='ij')
    place = torch.stack((y.flatten() // window, x.flatten() // window), 1)
    return (place[:, None] == place[None]).all(-1)


@settings(max_examples=40)
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.integers(1, 10),
    batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_it_equals_full_attention_masked_to_the_windows(grid, window, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, batch, 2, grid[0] * grid[1], 4, generator=generator)
    found = attend_in_windows(attend, q, k, v, grid, window)
    scores = (q @ k.mT / 2).masked_fill(~same_window(grid, window), float('-inf'))
    torch.testing.assert_close(found, scores.softmax(-1) @ v, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('window', [2, 3])
def test_gradients_are_those_of_masked_full_attention(window):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 2, 2, 4 * 5, 4, generator=generator).requires_grad_()
    weight = torch.randn(2, 2, 20, 4, generator=generator)
    found = attend_in_windows(attend, *qkv, (4, 5), window)
    (gradient,) = torch.autograd.grad((found * weight).sum(), qkv)
    q, k, v = qkv
    scores = (q @ k.mT / 2).masked_fill(~same_window((4, 5), window), float('-inf'))
    (expected,) = torch.autograd.grad((scores.softmax(-1) @ v * weight).sum(), qkv)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_windows_that_fill_the_grid_need_no_mask():
    seen = []

    def attend(q, k, v, grid, mask):
        seen.append((grid, mask))
        return v

    x = torch.randn(2, 1, 8, 3)
    assert torch.equal(attend_in_windows(attend, x, x, x, (2, 4), 2), x)
    assert torch.equal(attend_in_windows(attend, x, x, x, (2, 4), 9), x)
    assert seen == [((2, 2), None), ((2, 4), None)]
