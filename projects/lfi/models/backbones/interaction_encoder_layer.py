"""Attention of interaction queries to tokens, and the ViT block that includes it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from .vitdet_attention import DecomposedRelativePosition, attend_in_windows


class QueryAttention:
    """Mixin for layers whose queries attend to tokens, by the layer's own norm and attention.

    Learned queries attend to all tokens and to each other. An asked query attends to the patches and to
    itself, so that its answer does not depend on other asked queries.
    """

    ln1: Any
    """Norm before the attention."""
    attn: Any
    """`MultiheadAttention` of mmpretrain."""
    training: bool

    def _update_asked(
        self, asked_queries: Tensor, k: Tensor, v: Tensor, extra: int, valid: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the asked queries (B, M, C) after attention, and their attention to the patches (B, M, N).

        Args:
            asked_queries: (B, M, C), asked queries.
            k: (B, H, n, D), keys of all tokens. The last N are patches.
            v: (B, H, n, D), values of all tokens.
            extra: n - N, number of tokens before the patches.
            valid: (B, N) bool, patches that queries may read. None for all.
        """
        q_own, k_own, v_own = self._project(asked_queries)  # 3 x [B, H, M, D]
        q_own = q_own * self.attn.head_dims**-0.5
        # Slicing k before the product would copy it.
        scores = (q_own @ k.mT)[..., extra:]  # [B, H, M, N]
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None], float('-inf'))
        self_score = (q_own * k_own).sum(-1, keepdim=True)  # [B, H, M, 1]
        weights = torch.cat((scores, self_score), -1).softmax(-1, dtype=torch.float32)
        attention = scores.softmax(-1, dtype=torch.float32).mean(1)
        weights = F.dropout(weights, self.attn.attn_drop, self.training).to(v)
        attended = F.pad(weights[..., :-1], (extra, 0)) @ v + weights[..., -1:] * v_own  # [B, H, M, D]
        return self._add_attended(asked_queries, attended), attention

    def _update_learned(
        self, queries: Tensor, k: Tensor, v: Tensor, extra: int, valid: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the learned queries (B, K, C) after attention, and their keys and values (B, H, K, D).

        See `_update_asked` for the other arguments.
        """
        q_query, k_query, v_query = self._project(queries)
        mask = None
        if valid is not None:
            mask = F.pad(valid, (extra, queries.shape[1]), value=True)[:, None, None]  # [B, 1, 1, n + K]
        attended = self._attend(q_query, torch.cat((k, k_query), 2), torch.cat((v, v_query), 2), mask)
        return self._add_attended(queries, attended), k_query, v_query

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, n, _ = x.shape
        qkv = self.attn.qkv(self.ln1(x)).reshape(b, n, 3, self.attn.num_heads, self.attn.head_dims)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x [B, H, N, D]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        dropout = self.attn.attn_drop if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)

    def _add_attended(self, x: Tensor, attended: Tensor) -> Tensor:
        return x + self._project_output(attended)

    def _project_output(self, attended: Tensor) -> Tensor:
        # attended: [B, H, N, D] -> [B, N, C]
        b, _, n, _ = attended.shape
        merged = self.attn.proj(attended.transpose(1, 2).reshape(b, n, self.attn.embed_dims))
        return self.attn.out_drop(self.attn.gamma1(self.attn.proj_drop(merged)))


class InteractionEncoderLayer(QueryAttention, TransformerEncoderLayer):
    """mmpretrain's ViT block with learned and asked queries. It adds no attention weights.

    See `QueryAttention` for what queries attend to. The softmax over tokens never includes queries. If the
    block has a `query_gate` (1,), each token adds tanh(query_gate) times what it reads from the learned
    queries. No token reads an asked query. Without a gate, and with a gate of zero, tokens equal those of
    mmpretrain's block exactly. The feed-forward network, two thirds of a block's cost, runs on tokens alone.
    """

    window_size: int | None = None
    """Side, in patches, of the windows within which patches attend. None for global attention."""
    relative_position: DecomposedRelativePosition | None
    """Bias of the patches' attention."""

    query_gate: nn.Parameter | None
    """Gate of the tokens' attention to the learned queries, before tanh. None for no write-back."""

    def forward(
        self,
        x: Tensor,
        queries: Tensor | None,
        asked_queries: Tensor | None,
        grid: tuple[int, int],
        valid: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Run the block.

        Args:
            x: (B, N, C), tokens, extra tokens (class token) first.
            queries: (B, K, C), learned queries. None if there are none.
            asked_queries: (B, M, C), asked queries. None if there are none.
            grid: (H, W) of the H * W patches among the N tokens.
            valid: (B, H * W) bool, patches that queries may read. None for all.

        Returns:
            x (B, N, C), queries (B, K, C) or None, asked_queries (B, M, C) or None, and the asked queries'
            attention to the patches alone, softmax in float32, mean over heads: (B, M, H * W) or None.
        """
        q, k, v = self._project(x)
        extra = x.shape[1] - grid[0] * grid[1]
        attention = write_back = None
        # Queries run first, while the keys and values are in the processor's cache.
        if asked_queries is not None:
            asked_queries, attention = self._update_asked(asked_queries, k, v, extra, valid)
        if queries is not None:
            queries, k_query, v_query = self._update_learned(queries, k, v, extra, valid)
            if self.query_gate is not None:
                write_back = self._attend(q, k_query, self.query_gate.tanh() * v_query)

        attended = self._attend_to_patches(q, k, v, grid)
        if write_back is not None:
            attended = attended + write_back
        x = self._add_attended(x, attended)
        x = self.ffn(self.ln2(x), identity=x)
        return x, queries, asked_queries, attention

    def _attend_to_patches(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.window_size is None:
            return self._attend_with_bias(q, k, v, grid)
        return attend_in_windows(self._attend_with_bias, q, k, v, grid, self.window_size, self._project_zeros)

    def _project_zeros(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, (heads, D) each, of a token that is zero after its norm."""
        token = self.ln1.weight.new_zeros(self.attn.embed_dims)
        return self.attn.qkv(token).view(3, self.attn.num_heads, self.attn.head_dims).unbind(0)

    def _attend_with_bias(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.relative_position is None:
            return self._attend(q, k, v)
        q, k = self.relative_position.extend(q, k, grid)
        # Fused kernels need q, k and v of one width.
        dims, padding = v.shape[-1], q.shape[-1] - v.shape[-1]
        return self._attend(q, k, F.pad(v, (0, padding)))[..., :dims]
