"""ViT blocks in which interaction queries read the patches, by the block's own projections."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from .relative_position import DecomposedRelativePosition
from .window_attention import attend_in_windows


class InteractionEncoderLayer(TransformerEncoderLayer):
    """mmpretrain's ViT block plus K interaction queries. It adds no attention weights.

    Queries attend to all tokens and to each other; tokens never attend to queries in their softmax. Where
    the block has a `query_gate` (1,), each token adds tanh(query_gate) * its attention to the queries.
    Without it, and with a gate of zero, the tokens go exactly as in mmpretrain's block. The feed-forward
    network, two thirds of a block's cost, is for the tokens alone.
    """

    window_size: int | None = None
    """Side of the windows in which patches attend to one another; None: all to all."""
    relative_position: DecomposedRelativePosition | None
    """What the patches' attention to one another knows of their distance."""

    query_gate: nn.Parameter | None
    """How much of the queries the tokens take in, before tanh; None: nothing."""

    def forward(
        self, x: Tensor, queries: Tensor | None, grid: tuple[int, int], valid: Tensor | None, record: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Run the block.

        Args:
            x: (B, N, C), the extra tokens (class token) first.
            queries: (B, K, C); None: the block runs without.
            grid: (H, W) of the H * W patches among the N tokens.
            valid: (B, H * W) bool, the patches that queries may read; None: all.
            record: whether to return the queries' attention.

        Returns:
            x (B, N, C), queries (B, K, C) or None, and with `record` the attention of the queries over the
            patches alone, softmax in float32, mean over heads: (B, K, H * W); else None.
        """
        q, k, v = self._project(x)
        if queries is None:
            x = self._merge(x, self._attend_to_patches(q, k, v, grid))
            return self.ffn(self.ln2(x), identity=x), None, None
        n = x.shape[1]
        extra = n - grid[0] * grid[1]
        q_query, k_query, v_query = self._project(queries)
        # First the queries, while the keys and values are in the cache.
        mask = None
        if valid is not None:
            mask = F.pad(valid, (extra, queries.shape[1]), value=True)[:, None, None]  # [B, 1, 1, N + K]
        keys = torch.cat((k, k_query), 2)
        read = self._attend(q_query, keys, torch.cat((v, v_query), 2), mask)
        attention = None
        if record:
            attention = self._attention_over_patches(q_query, keys, slice(extra, n), valid)
        queries = self._merge(queries, read)

        attended = self._attend_to_patches(q, k, v, grid)
        if self.query_gate is not None:
            attended = attended + self._attend(q, k_query, self.query_gate.tanh() * v_query)
        x = self._merge(x, attended)
        x = self.ffn(self.ln2(x), identity=x)
        return x, queries, attention

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, n, _ = x.shape
        qkv = self.attn.qkv(self.ln1(x)).reshape(b, n, 3, self.attn.num_heads, self.attn.head_dims)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x [B, H, N, D]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        dropout = self.attn.attn_drop if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)

    def _merge(self, x: Tensor, attended: Tensor) -> Tensor:
        # attended: [B, H, N, D] -> [B, N, C]
        b, _, n, _ = attended.shape
        merged = self.attn.proj(attended.transpose(1, 2).reshape(b, n, self.attn.embed_dims))
        return x + self.attn.out_drop(self.attn.gamma1(self.attn.proj_drop(merged)))

    def _attention_over_patches(
        self, q_query: Tensor, k: Tensor, patches: slice, valid: Tensor | None
    ) -> Tensor:
        # q_query: [B, H, K, D], k: [B, H, n, D] of which N are patches -> [B, K, N]
        # Cut after the product: a cut of k would be copied for it.
        scores = ((q_query * self.attn.head_dims**-0.5) @ k.mT)[..., patches]
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None], float('-inf'))
        return scores.softmax(-1, dtype=torch.float32).mean(1)

    def _attend_to_patches(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.window_size is None:
            return self._attend_near(q, k, v, grid)
        return attend_in_windows(self._attend_near, q, k, v, grid, self.window_size)

    def _attend_near(
        self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], mask: Tensor | None = None
    ) -> Tensor:
        if self.relative_position is None:
            return self._attend(q, k, v, mask)
        q, k = self.relative_position.extend(q, k, grid)
        # Fused kernels want heads of one width.
        dims, wider = v.shape[-1], q.shape[-1] - v.shape[-1]
        return self._attend(q, k, F.pad(v, (0, wider)), mask)[..., :dims]
