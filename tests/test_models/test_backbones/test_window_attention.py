"""Windowed attention against attention over a grid that is filled up, computed the slow way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.models.backbones.window_attention import attend_in_windows
from torch.nn.functional import scaled_dot_product_attention


def attend(q, k, v, grid):
    return scaled_dot_product_attention(q, k, v)


def slow(q, k, v, grid, window, beyond):
    """Full attention over the filled grid, masked to the windows; q, k and v are (B, heads, H * W, D)."""
    sides = [min(window, side) for side in grid]
    full = [-(-side // extent) * extent for side, extent in zip(grid, sides)]
    y, x = torch.meshgrid(torch.arange(full[0]), torch.arange(full[1]), indexing='ij')
    there = ((y < grid[0]) & (x < grid[1])).flatten()
    place = torch.stack((y.flatten() // sides[0], x.flatten() // sides[1]), 1)
    same = (place[:, None] == place[None]).all(-1)
    filled = []
    for part, cell in zip((q, k, v), beyond):
        whole = cell[None, :, None].repeat(part.shape[0], 1, full[0] * full[1], 1)
        whole[:, :, there] = part
        filled.append(whole)
    q, k, v = filled
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~same, float('-inf'))
    return (scores.softmax(-1) @ v)[:, :, there]


@settings(max_examples=40)
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.integers(1, 10),
    batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_it_equals_attention_over_the_filled_grid(grid, window, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, batch, 2, grid[0] * grid[1], 4, generator=generator)
    beyond = tuple(torch.randn(3, 2, 4, generator=generator))
    found = attend_in_windows(attend, q, k, v, grid, window, lambda: beyond)
    torch.testing.assert_close(found, slow(q, k, v, grid, window, beyond), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('window', [2, 3])
def test_gradients_are_those_of_attention_over_the_filled_grid(window):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 2, 2, 4 * 5, 4, generator=generator).requires_grad_()
    beyond = torch.randn(3, 2, 4, generator=generator).requires_grad_()
    weight = torch.randn(2, 2, 20, 4, generator=generator)
    outs = (
        attend_in_windows(attend, *qkv, (4, 5), window, lambda: tuple(beyond)),
        slow(*qkv, (4, 5), window, tuple(beyond)),
    )
    found, expected = (torch.autograd.grad((out * weight).sum(), (qkv, beyond)) for out in outs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_windows_that_fill_the_grid_need_no_cell_beyond_it():
    seen = []

    def attend(q, k, v, grid):
        seen.append(grid)
        return v

    x, nothing = torch.randn(2, 1, 8, 3), lambda: pytest.fail('cells were asked for')
    assert torch.equal(attend_in_windows(attend, x, x, x, (2, 4), 2, nothing), x)
    assert torch.equal(attend_in_windows(attend, x, x, x, (2, 4), 9, nothing), x)
    assert seen == [(2, 2), (2, 4)]
