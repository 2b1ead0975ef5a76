"""Windowed attention against attention over a grid that is filled up, computed the slow way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.models.backbones import InteractionQueryViT
from lfi.models.backbones.vitdet_attention import DecomposedRelativePosition, attend_in_windows
from torch.nn.functional import interpolate, scaled_dot_product_attention


def attend(q, k, v, grid):
    return scaled_dot_product_attention(q, k, v)


def slow(q, k, v, grid, window, padding):
    """Full attention over the filled grid, masked to the windows; q, k and v are (B, heads, H * W, D)."""
    sides = [min(window, side) for side in grid]
    full = [-(-side // extent) * extent for side, extent in zip(grid, sides)]
    y, x = torch.meshgrid(torch.arange(full[0]), torch.arange(full[1]), indexing='ij')
    there = ((y < grid[0]) & (x < grid[1])).flatten()
    place = torch.stack((y.flatten() // sides[0], x.flatten() // sides[1]), 1)
    same = (place[:, None] == place[None]).all(-1)
    filled = []
    for part, cell in zip((q, k, v), padding):
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
def test_windows_equal_attention_over_the_filled_grid(grid, window, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, batch, 2, grid[0] * grid[1], 4, generator=generator)
    padding = tuple(torch.randn(3, 2, 4, generator=generator))
    actual = attend_in_windows(attend, q, k, v, grid, window, lambda: padding)
    torch.testing.assert_close(actual, slow(q, k, v, grid, window, padding), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('window', [2, 3])
def test_gradients_are_those_of_attention_over_the_filled_grid(window):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 2, 2, 4 * 5, 4, generator=generator).requires_grad_()
    padding = torch.randn(3, 2, 4, generator=generator).requires_grad_()
    weight = torch.randn(2, 2, 20, 4, generator=generator)
    outs = (
        attend_in_windows(attend, *qkv, (4, 5), window, lambda: tuple(padding)),
        slow(*qkv, (4, 5), window, tuple(padding)),
    )
    actual, expected = (torch.autograd.grad((out * weight).sum(), (qkv, padding)) for out in outs)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_windows_that_fill_the_grid_need_no_cell_beyond_it():
    seen = []

    def attend(q, k, v, grid):
        seen.append(grid)
        return v

    x, nothing = torch.randn(2, 1, 8, 3), lambda: pytest.fail('cells were asked for')
    assert torch.equal(attend_in_windows(attend, x, x, x, (2, 4), 2, nothing), x)
    assert torch.equal(attend_in_windows(attend, x, x, x, (2, 4), 9, nothing), x)
    assert seen == [(2, 2), (2, 4)]


ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def seeded(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def bias_pair_by_pair(q, rel_h, rel_w, grid):
    """q (B, heads, N, D) -> (B, heads, N, N), MViTv2's equation (4) as loops."""
    places = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    bias = torch.zeros(*q.shape[:3], len(places))
    for i, (y_i, x_i) in enumerate(places):
        for j, (y_j, x_j) in enumerate(places):
            offset = rel_h[y_i - y_j + len(rel_h) // 2] + rel_w[x_i - x_j + len(rel_w) // 2]
            bias[..., i, j] = q[..., i, :] @ offset
    return bias


@pytest.mark.parametrize('grid', [(3, 4), (2, 2), (1, 4)])
def test_relative_positions_equal_the_formula(grid):
    position = DecomposedRelativePosition(8, (3, 4))
    torch.nn.init.normal_(position.rel_pos_h)
    torch.nn.init.normal_(position.rel_pos_w)
    q, k, v = seeded(3, 2, 2, grid[0] * grid[1], 8)
    scores = q @ k.mT / 8**0.5 + bias_pair_by_pair(q, position.rel_pos_h, position.rel_pos_w, grid)
    actual = scaled_dot_product_attention(*position.extend(q, k, grid), v)
    torch.testing.assert_close(actual, scores.softmax(-1) @ v)


def test_tables_are_interpolated_for_a_larger_grid():
    position = DecomposedRelativePosition(4, (2, 2))
    torch.nn.init.normal_(position.rel_pos_h)
    torch.nn.init.normal_(position.rel_pos_w)
    tables = [
        interpolate(table.T[None], size=5, mode='linear')[0].T
        for table in (position.rel_pos_h, position.rel_pos_w)
    ]
    q, k = seeded(2, 1, 1, 9, 4)
    long_q, long_k = position.extend(q, k, (3, 3))
    scores = long_q @ long_k.mT / long_q.shape[-1] ** 0.5
    torch.testing.assert_close(scores, q @ k.mT / 2 + bias_pair_by_pair(q, *tables, (3, 3)))


@pytest.mark.parametrize('window', [None, 2, 3])
def test_the_backbone_starts_as_without_relative_positions_and_learns_them(window):
    arguments = dict(
        img_size=64,
        patch_size=16,
        with_cls_token=False,
        out_type='featmap',
        window_size=window,
        num_queries=2,
    )
    torch.manual_seed(0)
    plain = InteractionQueryViT(ARCH, **arguments)
    ours = InteractionQueryViT(ARCH, use_rel_pos=True, global_attn_layers=[1], **arguments)
    missing = ours.load_state_dict(plain.state_dict(), strict=False).missing_keys
    side = 2 * (window or 4) - 1
    assert {key: tuple(ours.state_dict()[key].shape) for key in missing} == {
        'layers.0.relative_position.rel_pos_h': (side, 8),
        'layers.0.relative_position.rel_pos_w': (side, 8),
        'layers.1.relative_position.rel_pos_h': (7, 8),
        'layers.1.relative_position.rel_pos_w': (7, 8),
    }
    images = seeded(2, 3, 48, 80)
    plain.layers[1].window_size = None
    torch.testing.assert_close(ours(images)[-1], plain(images)[-1])

    ours(images)[-1].square().sum().backward()
    assert all(ours.get_parameter(key).grad.abs().sum() > 0 for key in missing)


def test_a_class_token_has_no_relative_position():
    with pytest.raises(ValueError, match='use_rel_pos=True needs with_cls_token=False'):
        InteractionQueryViT(ARCH, img_size=64, use_rel_pos=True)
