"""How queries read tokens, in a block of a ViT and in an adapter's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


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
