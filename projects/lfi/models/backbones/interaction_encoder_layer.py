"""How queries read tokens: in the blocks of a ViT, by their projections, and in an adapter."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from .vitdet_attention import DecomposedRelativePosition, attend_in_windows


class QueryAttention:
    """Learned and asked queries that read tokens by an attention behind a norm.

    Learned queries attend to all tokens and to each other; an asked query to the patches and to itself, so
    that its answer does not depend on what else is asked.
    """

    ln1: Any
    """The norm before the attention."""
    attn: Any
    """mmpretrain's `MultiheadAttention`."""
    training: bool

    def _answer(
        self, asked: Tensor, k: Tensor, v: Tensor, extra: int, valid: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The asked queries (B, M, C) after the block, and their attention over the patches (B, M, N).

        Args:
            asked: (B, M, C), before it.
            k: (B, H, n, D), the keys of all tokens, of which the last N are patches.
            v: (B, H, n, D), their values.
            extra: n - N.
            valid: (B, N) bool, or None.
        """
        q_own, k_own, v_own = self._project(asked)  # 3 x [B, H, M, D]
        q_own = q_own * self.attn.head_dims**-0.5
        # Cut after the product: a cut of k would be copied for it.
        scores = (q_own @ k.mT)[..., extra:]  # [B, H, M, N]
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None], float('-inf'))
        to_itself = (q_own * k_own).sum(-1, keepdim=True)  # [B, H, M, 1]
        shares = torch.cat((scores, to_itself), -1).softmax(-1, dtype=torch.float32)
        attention = scores.softmax(-1, dtype=torch.float32).mean(1)
        used = F.dropout(shares, self.attn.attn_drop, self.training).to(v)
        read = F.pad(used[..., :-1], (extra, 0)) @ v + used[..., -1:] * v_own  # [B, H, M, D]
        return self._merge(asked, read), attention

    def _read(
        self, queries: Tensor, k: Tensor, v: Tensor, extra: int, valid: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The learned queries (B, K, C) after the block, and the keys and values of before (B, H, K, D).

        Arguments as of `_answer`.
        """
        q_query, k_query, v_query = self._project(queries)
        mask = None
        if valid is not None:
            mask = F.pad(valid, (extra, queries.shape[1]), value=True)[:, None, None]  # [B, 1, 1, n + K]
        read = self._attend(q_query, torch.cat((k, k_query), 2), torch.cat((v, v_query), 2), mask)
        return self._merge(queries, read), k_query, v_query

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, n, _ = x.shape
        qkv = self.attn.qkv(self.ln1(x)).reshape(b, n, 3, self.attn.num_heads, self.attn.head_dims)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x [B, H, N, D]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        dropout = self.attn.attn_drop if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)

    def _merge(self, x: Tensor, attended: Tensor) -> Tensor:
        return x + self._out(attended)

    def _out(self, attended: Tensor) -> Tensor:
        # attended: [B, H, N, D] -> [B, N, C]
        b, _, n, _ = attended.shape
        merged = self.attn.proj(attended.transpose(1, 2).reshape(b, n, self.attn.embed_dims))
        return self.attn.out_drop(self.attn.gamma1(self.attn.proj_drop(merged)))


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
