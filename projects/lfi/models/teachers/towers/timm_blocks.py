"""The blocks of timm's vision transformers, EVA's included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import apply_rot_embed_cat
from timm.layers.attention import AttentionRope
from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Attention
from timm.models.vision_transformer import Block as ViTBlock
from torch import Tensor, nn

from .base import Block, merge_heads

Positions = Callable[[tuple[int, int]], Tensor]
"""From a grid to its rotary embedding."""


def reads_block(block: nn.Module) -> bool:
    """Whether one of the kinds below takes a block apart."""
    attn: Any = getattr(block, 'attn', None)
    return (
        type(block) in (ViTBlock, EvaBlock, EvaBlockPostNorm)
        and type(attn) in (Attention, EvaAttention, AttentionRope)
        and getattr(attn, 'gate', None) is None
        and getattr(attn, 'num_kv_heads', attn.num_heads) == attn.num_heads
    )


class TimmBlock(Block):
    """A block of timm's `VisionTransformer`.

    Args:
        block: the module, one that `reads_block` accepts.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block: Any = block

    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the block; as of `Block`."""
        return self.block(x)

    def normed(self, x: Tensor) -> Tensor:
        """Apply the norm; as of `Block`."""
        return self.block.norm1(x)

    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values; as of `Block`."""
        attn = self.block.attn
        q, k, v = _projected(attn, normed)
        return attn.q_norm(q), attn.k_norm(k), v

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection; as of `Block`."""
        return self.block.ls1(self._projected_output(attended))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network; as of `Block`."""
        return x + self.block.ls2(self.block.mlp(self.block.norm2(x)))

    def _projected_output(self, attended: Tensor) -> Tensor:
        attn = self.block.attn
        return attn.proj(attn.norm(merge_heads(attended)))


class EvaBlockParts(TimmBlock):
    """A block of timm's `Eva`, whose queries and keys carry rotary positions.

    Args:
        block: the module, one that `reads_block` accepts.
        positions: the rotary embedding of a grid; None where the tower has none.
    """

    def __init__(self, block: nn.Module, positions: Positions | None) -> None:
        super().__init__(block)
        self.positions = positions

    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the block; as of `Block`."""
        return self.block(x, rope=None if self.positions is None else self.positions(grid))

    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values; as of `Block`."""
        q, k, v = super().qkv(normed, grid)
        if self.positions is None:
            return q, k, v
        rope = self.positions(grid)
        return self._rotated(q, rope).type_as(v), self._rotated(k, rope).type_as(v), v

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection; as of `Block`."""
        gamma = self.block.gamma_1
        added = self._projected_output(attended)
        return added if gamma is None else gamma * added

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network; as of `Block`."""
        gamma = self.block.gamma_2
        added = self.block.mlp(self.block.norm2(x))
        return x + (added if gamma is None else gamma * added)

    def _rotated(self, x: Tensor, rope: Tensor) -> Tensor:
        attn = self.block.attn
        prefix, patches = x.split((attn.num_prefix_tokens, x.shape[2] - attn.num_prefix_tokens), 2)
        half = getattr(attn, 'rotate_half', False)
        return torch.cat((prefix, apply_rot_embed_cat(patches, rope, half=half)), 2)


class PostNormEvaBlock(EvaBlockParts):
    """A block of timm's `Eva` that norms what its attention and its feed-forward network add."""

    def normed(self, x: Tensor) -> Tensor:
        """The tokens themselves: nothing is normed before the attention."""
        return x

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection and the norm; as of `Block`."""
        return self.block.norm1(self._projected_output(attended))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network; as of `Block`."""
        return x + self.block.norm2(self.block.mlp(x))


def block_of(block: nn.Module, positions: Positions | None) -> Block:
    """Take a block apart that `reads_block` accepts; arguments as of `EvaBlockParts`."""
    if type(block) is ViTBlock:
        return TimmBlock(block)
    kind = PostNormEvaBlock if type(block) is EvaBlockPostNorm else EvaBlockParts
    return kind(block, positions)


def _projected(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The projections (B, heads, n, head width) of tokens (B, n, width), before any norm."""
    if attn.qkv is None:
        parts = [layer(x) for layer in (attn.q_proj, attn.k_proj, attn.v_proj)]
        q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in parts)
        return q, k, v
    bias = attn.qkv.bias
    if getattr(attn, 'q_bias', None) is not None:
        bias = torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
    qkv = F.linear(x, attn.qkv.weight, bias)
    return qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
