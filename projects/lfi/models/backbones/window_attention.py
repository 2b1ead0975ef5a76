"""Attention within windows of the patch grid, as ViTDet has it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]


def attend_in_windows(
    attend: Attend,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: tuple[int, int],
    window: int,
    beyond: Callable[[], tuple[Tensor, Tensor, Tensor]],
) -> Tensor:
    """Attention of patches to the patches of their own window.

    (Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, section 3.)
    Where windows reach beyond the grid its patches attend to cells beyond it too, as those of published
    weights do. A window larger than the grid is as large as the grid.

    Args:
        attend: from the q, k and v of windows, and their grid, to the result, as
            `torch.nn.functional.scaled_dot_product_attention`.
        q: (B, heads, H * W, D).
        k: likewise.
        v: likewise.
        grid: (H, W).
        window: side of the windows, in patches.
        beyond: gives q, k and v, (heads, D) each, of the cells beyond the grid. ViTDet fills the normalised
            tokens with zeros before their projection.

    Returns:
        (B, heads, H * W, D).
    """
    sides = min(window, grid[0]), min(window, grid[1])
    missing = -grid[0] % sides[0], -grid[1] % sides[1]
    # Not len(): it would fix the batch size of an exported graph.
    batch = q.shape[0]
    parts = [x.unflatten(2, grid) for x in (q, k, v)]
    if any(missing):
        parts = [_fill(x, cell, missing) for x, cell in zip(parts, beyond())]
    q, k, v = (_split(x, sides) for x in parts)
    attended = attend(q, k, v, sides)
    return _join(attended, batch, grid, sides, missing)


def _fill(x: Tensor, cell: Tensor, missing: tuple[int, int]) -> Tensor:
    """Add rows and columns of a cell (heads, D) at the end of (B, heads, H, W, D)."""
    for axis, more in zip((2, 3), missing):
        if more:
            shape = [*x.shape]
            shape[axis] = more
            x = torch.cat((x, cell.to(x.dtype)[:, None, None].expand(shape)), axis)
    return x


def _split(x: Tensor, sides: tuple[int, int]) -> Tensor:
    # [B, heads, H, W, D] -> [B * windows, heads, h * w, D]
    x = x.unflatten(3, (-1, sides[1])).unflatten(2, (-1, sides[0]))  # [B, heads, m, h, n, w, D]
    return x.permute(0, 2, 4, 1, 3, 5, 6).flatten(4, 5).flatten(0, 2)


def _join(
    x: Tensor, batch: int, grid: tuple[int, int], sides: tuple[int, int], missing: tuple[int, int]
) -> Tensor:
    # [B * windows, heads, h * w, D] -> [B, heads, H * W, D]
    rows, columns = ((side + more) // extent for side, more, extent in zip(grid, missing, sides))
    x = x.unflatten(2, sides).unflatten(0, (batch, rows, columns))  # [B, m, n, heads, h, w, D]
    x = x.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3)
    return x[:, :, : grid[0], : grid[1]].flatten(2, 3)
