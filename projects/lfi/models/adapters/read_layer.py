"""Layer in which queries read a feature map of any backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from lfi.models.backbones.interaction_encoder_layer import QueryAttention


class ReadLayer(QueryAttention, BaseModule):
    """Attention of queries to a feature map, projected to the queries' width and resized to the finest grid.

    Each location of the map adds tanh(query_gate) times what it reads from the learned queries, projected to
    the map's channels by the transpose of the first projection. The gate is zero at the start.

    Args:
        channels: number of channels of the feature map.
        query_dims: C, width of the queries.
        num_heads: number of attention heads.
        writes: whether learned queries write back.
        scale: height and width of a location of the map, in locations of the grid. Defaults to (1, 1).
    """

    def __init__(
        self,
        channels: int,
        query_dims: int,
        num_heads: int,
        writes: bool,
        scale: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.scale = scale
        self.project_map = nn.Conv2d(channels, query_dims, 1)
        self.ln1 = nn.LayerNorm(query_dims)
        self.attn = MultiheadAttention(query_dims, num_heads)
        self.register_parameter('query_gate', nn.Parameter(torch.zeros(1)) if writes else None)

    def init_weights(self) -> None:
        """Reset the parameters: the backbone's `init_weights` may have changed them by its own rules."""
        super().init_weights()
        for module in self.modules():
            if hasattr(module, 'reset_parameters'):
                module.reset_parameters()

    def forward(
        self,
        feature: Tensor,
        x: Tensor | None,
        queries: Tensor | None,
        asked_queries: Tensor | None,
        grid: tuple[int, int],
        valid: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Let the queries read a map.

        Args:
            feature: (B, channels, h, w), the map. It starts at the grid's top left and may end beyond it.
            x: (B, N, C), tokens of earlier maps. None for the first map.
            queries: (B, K, C), learned queries. None if there are none.
            asked_queries: (B, M, C), asked queries. None if there are none.
            grid: (H, W) with H * W = N.
            valid: (B, N) bool, locations that queries may read. None for all.

        Returns:
            The map with the learned queries' write-back; the tokens (B, N, C), with the map's tokens added;
            queries (B, K, C) or None; asked_queries (B, M, C) or None; and the asked queries' attention over
            the locations, mean over heads, float32: (B, M, N) or None.
        """
        tokens = self._to_grid(self.project_map(feature), grid).flatten(2).mT  # [B, N, C]
        x = tokens if x is None else x + tokens
        q, k, v = self._project(x)
        attention = None
        if asked_queries is not None:
            asked_queries, attention = self._update_asked(asked_queries, k, v, 0, valid)
        if queries is not None:
            queries, k_query, v_query = self._update_learned(queries, k, v, 0, valid)
            write_back = self._project_output(self._attend(q, k_query, v_query))  # [B, N, C]
            feature = feature + self.query_gate.tanh() * self._to_map(write_back, grid)
        return feature, x, queries, asked_queries, attention

    def _to_grid(self, projected: Tensor, grid: tuple[int, int]) -> Tensor:
        """Resize a projected map (B, C, h, w) to the grid."""
        if self.scale != (1, 1):
            size = projected.shape[2] * self.scale[0], projected.shape[3] * self.scale[1]
            projected = F.interpolate(projected, size, mode='bilinear', align_corners=False)
        # A coarse map ends beyond the grid where the image's side is no multiple of the map's stride.
        return projected[..., : grid[0], : grid[1]]

    def _to_map(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Project tokens (B, N, C) to the channels and the size of the map."""
        projected = tokens.mT.unflatten(-1, grid)  # [B, C, H, W]
        if self.scale != (1, 1):
            # The last row and column are means over the locations inside the grid.
            projected = F.avg_pool2d(projected, self.scale, ceil_mode=True, count_include_pad=False)
        return F.conv2d(projected, self.project_map.weight.transpose(0, 1))
