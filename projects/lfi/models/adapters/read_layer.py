"""A layer by which queries read a feature map of any backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from lfi.models.backbones.interaction_encoder_layer import QueryAttention


class ReadLayer(QueryAttention, BaseModule):
    """Brings a feature map to the queries' width and grid, and lets them read it, as in a block of a ViT.

    Learned queries write back by the transpose of the projection that brought the map to their width, so
    that writing costs no weights: the map takes in tanh(query_gate) * what its locations read of them. The
    gate is zero at the start.

    Args:
        channels: of the feature map.
        query_dims: C, the queries' width.
        num_heads: of the attention.
        writes: whether there are learned queries to write back.
        scale: height and width of a location of the map in locations of the grid. Defaults to (1, 1).
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
        """As it was built: a backbone's rule for its own layers, which came before, is not for it."""
        super().init_weights()
        for module in self.modules():
            if hasattr(module, 'reset_parameters'):
                module.reset_parameters()

    def forward(
        self,
        feature: Tensor,
        x: Tensor | None,
        queries: Tensor | None,
        asked: Tensor | None,
        grid: tuple[int, int],
        valid: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Read a map.

        Args:
            feature: (B, channels, h, w). It begins where the grid does, and may reach beyond its end.
            x: (B, N, C), the tokens that earlier maps left; None: none yet.
            queries: (B, K, C), the learned ones; None: the layer runs without.
            asked: (B, M, C); None: the layer runs without.
            grid: (H, W) with H * W = N.
            valid: (B, N) bool, the locations that queries may read; None: all.

        Returns:
            The map with what learned queries wrote; the tokens (B, N, C), to which the map's own are added;
            queries (B, K, C) or None; asked (B, M, C) or None; and the asked queries' attention over the
            locations, mean over heads, float32: (B, M, N) or None.
        """
        tokens = self._to_grid(self.project_map(feature), grid).flatten(2).mT  # [B, N, C]
        x = tokens if x is None else x + tokens
        q, k, v = self._project(x)
        attention = None
        if asked is not None:
            asked, attention = self._answer(asked, k, v, 0, valid)
        if queries is not None:
            queries, k_query, v_query = self._read(queries, k, v, 0, valid)
            written = self._out(self._attend(q, k_query, v_query))  # [B, N, C]
            feature = feature + self.query_gate.tanh() * self._to_map(written, grid)
        return feature, x, queries, asked, attention

    def _to_grid(self, own: Tensor, grid: tuple[int, int]) -> Tensor:
        """A map (B, C, h, w) on the grid's locations."""
        if self.scale != (1, 1):
            size = own.shape[2] * self.scale[0], own.shape[3] * self.scale[1]
            own = F.interpolate(own, size, mode='bilinear', align_corners=False)
        # Where the image's side is not a multiple of its stride, a coarse map ends further out.
        return own[..., : grid[0], : grid[1]]

    def _to_map(self, written: Tensor, grid: tuple[int, int]) -> Tensor:
        """What is written (B, N, C), as wide and fine as the map."""
        written = written.mT.unflatten(-1, grid)  # [B, C, H, W]
        if self.scale != (1, 1):
            # In the last row and column the mean of what is there.
            written = F.avg_pool2d(written, self.scale, ceil_mode=True, count_include_pad=False)
        return F.conv2d(written, self.project_map.weight.transpose(0, 1))
