"""Attention within windows of the patch grid, as ViTDet has it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, tuple[int, int], Tensor | None], Tensor]


def attend_in_windows(
    attend: Attend, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], window: int
) -> Tensor:
    """Attention of patches to the patches of their own window.

    (Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, section 3.)
    Windows that reach beyond the grid are filled up with cells that no patch attends to.

    Args:
        attend: from the q, k and v of windows, their grid and an attention mask or None to the result, as
            `torch.nn.functional.scaled_dot_product_attention`.
        q: (B, heads, H * W, D).
        k: likewise.
        v: likewise.
        grid: (H, W).
        window: side of the windows, in patches.

    Returns:
        (B, heads, H * W, D).
    """
    sides = min(window, grid[0]), min(window, grid[1])
    missing = -grid[0] % sides[0], -grid[1] % sides[1]
    mask = None
    if any(missing):
        there = torch.ones(1, 1, grid[0] * grid[1], 1, dtype=torch.bool, device=q.device)
        mask = _split(there, grid, sides, missing).mT  # [windows, 1, 1, h * w]
        mask = mask.repeat(q.shape[0], 1, 1, 1)
    # Not len(): it would fix the batch size of an exported graph.
    batch = q.shape[0]
    q, k, v = (_split(x, grid, sides, missing) for x in (q, k, v))
    attended = attend(q, k, v, sides, mask)
    return _join(attended, batch, grid, sides, missing)


def _split(x: Tensor, grid: tuple[int, int], sides: tuple[int, int], missing: tuple[int, int]) -> Tensor:
    # [B, heads, H * W, D] -> [B * windows, heads, h * w, D]
    x = F.pad(x.unflatten(2, grid), (0, 0, 0, missing[1], 0, missing[0]))
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
