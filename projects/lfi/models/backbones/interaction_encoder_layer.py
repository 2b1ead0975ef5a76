"""ViT blocks in which interaction queries, learned and asked, read the patches by the block's projections."""

from __future__ import annotations

import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from .query_attention import QueryAttention
from .vitdet_attention import DecomposedRelativePosition, attend_in_windows


class InteractionEncoderLayer(QueryAttention, TransformerEncoderLayer):
    """mmpretrain's ViT block plus learned and asked queries. It adds no attention weights.

    Learned queries attend to all tokens and to each other. An asked query attends to the patches and to
    itself, so that its answer does not depend on what else is asked. Tokens never attend to queries in their
    softmax; where the block has a `query_gate` (1,), each token adds tanh(query_gate) * its attention to the
    learned queries, and never reads an asked one. Without the gate, and with a gate of zero, the tokens go
    exactly as in mmpretrain's block. The feed-forward network, two thirds of a block's cost, is for the
    tokens alone.
    """

    window_size: int | None = None
    """Side of the windows in which patches attend to one another; None: all to all."""
    relative_position: DecomposedRelativePosition | None
    """What the patches' attention to one another knows of their distance."""

    query_gate: nn.Parameter | None
    """How much of the learned queries the tokens take in, before tanh; None: nothing."""

    def forward(
        self,
        x: Tensor,
        queries: Tensor | None,
        asked: Tensor | None,
        grid: tuple[int, int],
        valid: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Run the block.

        Args:
            x: (B, N, C), the extra tokens (class token) first.
            queries: (B, K, C), the learned ones; None: the block runs without.
            asked: (B, M, C); None: the block runs without.
            grid: (H, W) of the H * W patches among the N tokens.
            valid: (B, H * W) bool, the patches that queries may read; None: all.

        Returns:
            x (B, N, C), queries (B, K, C) or None, asked (B, M, C) or None, and the asked queries' attention
            over the patches alone, softmax in float32, mean over heads: (B, M, H * W) or None.
        """
        q, k, v = self._project(x)
        extra = x.shape[1] - grid[0] * grid[1]
        attention = written = None
        # First the queries, while the keys and values are in the cache.
        if asked is not None:
            asked, attention = self._answer(asked, k, v, extra, valid)
        if queries is not None:
            queries, k_query, v_query = self._read(queries, k, v, extra, valid)
            if self.query_gate is not None:
                written = self._attend(q, k_query, self.query_gate.tanh() * v_query)

        attended = self._attend_to_patches(q, k, v, grid)
        if written is not None:
            attended = attended + written
        x = self._merge(x, attended)
        x = self.ffn(self.ln2(x), identity=x)
        return x, queries, asked, attention

    def _attend_to_patches(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.window_size is None:
            return self._attend_near(q, k, v, grid)
        return attend_in_windows(self._attend_near, q, k, v, grid, self.window_size, self._project_zeros)

    def _project_zeros(self) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v, (heads, D) each, of a token that is zero after its norm."""
        nothing = self.ln1.weight.new_zeros(self.attn.embed_dims)
        return self.attn.qkv(nothing).view(3, self.attn.num_heads, self.attn.head_dims).unbind(0)

    def _attend_near(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.relative_position is None:
            return self._attend(q, k, v)
        q, k = self.relative_position.extend(q, k, grid)
        # Fused kernels want heads of one width.
        dims, wider = v.shape[-1], q.shape[-1] - v.shape[-1]
        return self._attend(q, k, F.pad(v, (0, wider)))[..., :dims]
