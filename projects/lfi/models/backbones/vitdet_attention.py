"""ViTDet's attention: windows of the patch grid, and decomposed relative positions."""

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
    padding_qkv: Callable[[], tuple[Tensor, Tensor, Tensor]],
) -> Tensor:
    """Attention of patches to the patches of their own window.

    (Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022, section 3.)
    The grid is padded to whole windows, and patches attend to the padding too, as in training of the
    published weights. A window larger than the grid is cut to the grid.

    Args:
        attend: attention function, called with q, k and v of all windows, and (h, w) of a window.
        q: (B, heads, H * W, D), queries.
        k: (B, heads, H * W, D), keys.
        v: (B, heads, H * W, D), values.
        grid: (H, W).
        window: side of the windows, in patches.
        padding_qkv: function that returns q, k and v of a padded cell, (heads, D) each. ViTDet pads the
            normalised tokens with zeros before their projection.

    Returns:
        Attended values, (B, heads, H * W, D).
    """
    sides = min(window, grid[0]), min(window, grid[1])
    missing = -grid[0] % sides[0], -grid[1] % sides[1]
    # len() would fix the batch size of an exported graph.
    batch = q.shape[0]
    parts = [x.unflatten(2, grid) for x in (q, k, v)]
    if any(missing):
        parts = [_pad(x, cell, missing) for x, cell in zip(parts, padding_qkv())]
    q, k, v = (_split(x, sides) for x in parts)
    attended = attend(q, k, v, sides)
    return _join(attended, batch, grid, sides, missing)


def _pad(x: Tensor, cell: Tensor, missing: tuple[int, int]) -> Tensor:
    """Append rows and columns of a cell (heads, D) to (B, heads, H, W, D)."""
    for axis, length in zip((2, 3), missing):
        if length:
            shape = [*x.shape]
            shape[axis] = length
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
    rows, columns = ((length + pad) // side for length, pad, side in zip(grid, missing, sides))
    x = x.unflatten(2, sides).unflatten(0, (batch, rows, columns))  # [B, m, n, heads, h, w, D]
    x = x.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3)
    return x[:, :, : grid[0], : grid[1]].flatten(2, 3)


class DecomposedRelativePosition(nn.Module):
    """Attention bias by the offset of two patches, the sum of a row term and a column term.

    bias_ij = q_i . r_h[y_i - y_j] + q_i . r_w[x_i - x_j] (Li et al., "MViTv2", CVPR 2022, section 4.1; in
    ViTDet, ECCV 2022). Instead of adding an N x N bias, `extend` appends to q the products of q with the two
    tables, and to k the patches' one-hot rows and columns. A scaled dot product, by any fused kernel, then
    gives q_i . k_j / sqrt(D) + bias_ij.

    Args:
        head_dims: D, channels of a head.
        grid: (H, W) of the largest grid whose offsets the tables hold. Tables are interpolated for a larger
            grid. A smaller grid uses the entries of its own offsets; detectron2 would interpolate.
    """

    def __init__(self, head_dims: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, head_dims))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, head_dims))

    def extend(self, q: Tensor, k: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Extend q and k so that their scaled dot product includes the bias.

        Args:
            q: (B, heads, H * W, D), queries.
            k: (B, heads, H * W, D), keys.
            grid: (H, W).

        Returns:
            q and k, each (B, heads, H * W, D + H + W).
        """
        by_patch = q.unflatten(2, grid)  # [B, heads, H, W, D]
        by_row = torch.einsum('bnhwd,hkd->bnhwk', by_patch, _offsets(self.rel_pos_h, grid[0]).to(q.dtype))
        by_column = torch.einsum('bnhwd,wkd->bnhwk', by_patch, _offsets(self.rel_pos_w, grid[1]).to(q.dtype))
        dims, extended_dims = q.shape[-1], q.shape[-1] + sum(grid)
        # The kernel divides by sqrt(extended_dims). It should divide q . k by sqrt(dims), the bias by 1.
        bias = torch.cat((by_row, by_column), -1).flatten(2, 3) * extended_dims**0.5
        rows = torch.eye(grid[0], dtype=k.dtype, device=k.device).repeat_interleave(grid[1], 0)
        columns = torch.eye(grid[1], dtype=k.dtype, device=k.device).repeat(grid[0], 1)
        one_hot = torch.cat((rows, columns), 1).expand(*k.shape[:2], -1, -1)  # [B, heads, H * W, H + W]
        return torch.cat((q * (extended_dims / dims) ** 0.5, bias), -1), torch.cat((k, one_hot), -1)


def _offsets(table: Tensor, side: int) -> Tensor:
    # [2 * S - 1, D] -> [side, side, D], indexed by query patch and key patch
    if len(table) < 2 * side - 1:
        table = F.interpolate(table.T[None], size=2 * side - 1, mode='linear')[0].T
    index = torch.arange(side, device=table.device)
    return table[index[:, None] - index + len(table) // 2]
