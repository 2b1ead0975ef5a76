"""Relative positions in attention, decomposed by axis, without a map of all pairs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
