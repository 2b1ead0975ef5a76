"""ViTDet's attention: within windows of the patch grid, and with relative positions by axis."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class DecomposedRelativePosition(nn.Module):
    """A bias of attention by how far two patches lie apart, one term by rows and one by columns.

    bias_ij = q_i . r_h[y_i - y_j] + q_i . r_w[x_i - x_j] (Li et al., "MViTv2", CVPR 2022, section 4.1; in
    ViTDet, ECCV 2022). Instead of an N x N bias, `extend` lengthens q by its products with the two tables
    and k by the patches' one-hot rows and columns, so that a plain scaled dot product gives
    q_i . k_j / sqrt(D) + bias_ij, by whichever fused kernel there is.

    Args:
        head_dims: D.
        grid: (H, W) of the largest grid whose offsets the tables hold; on a larger one they are interpolated.
            A smaller one has those of its own distances: detectron2 interpolates there too.
    """

    def __init__(self, head_dims: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, head_dims))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, head_dims))

    def extend(self, q: Tensor, k: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Lengthen q and k so that their scaled dot product holds the bias.

        Args:
            q: (B, heads, H * W, D).
            k: likewise.
            grid: (H, W).

        Returns:
            q and k, each (B, heads, H * W, D + H + W).
        """
        by_patch = q.unflatten(2, grid)  # [B, heads, H, W, D]
        by_row = torch.einsum('bnhwd,hkd->bnhwk', by_patch, _offsets(self.rel_pos_h, grid[0]).to(q.dtype))
        by_column = torch.einsum('bnhwd,wkd->bnhwk', by_patch, _offsets(self.rel_pos_w, grid[1]).to(q.dtype))
        dims, long = q.shape[-1], q.shape[-1] + sum(grid)
        # The dot product will be divided by sqrt(long): q . k should be by sqrt(dims), the bias by 1.
        bias = torch.cat((by_row, by_column), -1).flatten(2, 3) * long**0.5
        rows = torch.eye(grid[0], dtype=k.dtype, device=k.device).repeat_interleave(grid[1], 0)
        columns = torch.eye(grid[1], dtype=k.dtype, device=k.device).repeat(grid[0], 1)
        one_hot = torch.cat((rows, columns), 1).expand(*k.shape[:2], -1, -1)  # [B, heads, H * W, H + W]
        return torch.cat((q * (long / dims) ** 0.5, bias), -1), torch.cat((k, one_hot), -1)


def _offsets(table: Tensor, side: int) -> Tensor:
    # [2 * S - 1, D] -> [side, side, D], of the patch that attends and the patch attended to
    if len(table) < 2 * side - 1:
        table = F.interpolate(table.T[None], size=2 * side - 1, mode='linear')[0].T
    index = torch.arange(side, device=table.device)
    return table[index[:, None] - index + len(table) // 2]
