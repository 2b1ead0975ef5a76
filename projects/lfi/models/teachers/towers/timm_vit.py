"""timm's vision transformers as image towers, EVA's blocks included: SigLIP, PE-Core, ViTamin."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.layers import apply_rot_embed_cat
from timm.layers.attention import AttentionRope
from timm.layers.attention_pool import AttentionPoolLatent
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Attention, VisionTransformer
from timm.models.vision_transformer import Block as ViTBlock
from torch import Tensor, nn

from .base import Block, Pool, ResampledPositions, TransformerTower, merge_heads, patch_grid

Positions = Callable[[tuple[int, int]], Tensor]
"""Maps a grid to its rotary embedding."""


def supports_block(block: nn.Module) -> bool:
    """Whether one of the classes below can split a block into its parts."""
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
        block: module of the block that `supports_block` accepts.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block: Any = block

    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the unchanged block."""
        return self.block(x)

    def normed(self, x: Tensor) -> Tensor:
        """Apply the norm before the attention."""
        return self.block.norm1(x)

    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values. See `Block.qkv`."""
        attn = self.block.attn
        q, k, v = _project_qkv(attn, normed)
        return attn.q_norm(q), attn.k_norm(k), v

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection. See `Block.output`."""
        return self.block.ls1(self._project_output(attended))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network with the residual connection."""
        return x + self.block.ls2(self.block.mlp(self.block.norm2(x)))

    def _project_output(self, attended: Tensor) -> Tensor:
        attn = self.block.attn
        return attn.proj(attn.norm(merge_heads(attended)))


class EvaBlockParts(TimmBlock):
    """A block of timm's `Eva`, with rotary positions in queries and keys.

    Args:
        block: module of the block that `supports_block` accepts.
        positions: function from a grid to its rotary embedding. None if the tower has none.
    """

    def __init__(self, block: nn.Module, positions: Positions | None) -> None:
        super().__init__(block)
        self.positions = positions

    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the unchanged block."""
        return self.block(x, rope=None if self.positions is None else self.positions(grid))

    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values. See `Block.qkv`."""
        q, k, v = super().qkv(normed, grid)
        if self.positions is None:
            return q, k, v
        rope = self.positions(grid)
        return self._rotate(q, rope).type_as(v), self._rotate(k, rope).type_as(v), v

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection. See `Block.output`."""
        gamma = self.block.gamma_1
        update = self._project_output(attended)
        return update if gamma is None else gamma * update

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network with the residual connection."""
        gamma = self.block.gamma_2
        update = self.block.mlp(self.block.norm2(x))
        return x + (update if gamma is None else gamma * update)

    def _rotate(self, x: Tensor, rope: Tensor) -> Tensor:
        attn = self.block.attn
        prefix, patches = x.split((attn.num_prefix_tokens, x.shape[2] - attn.num_prefix_tokens), 2)
        half = getattr(attn, 'rotate_half', False)
        return torch.cat((prefix, apply_rot_embed_cat(patches, rope, half=half)), 2)


class PostNormEvaBlock(EvaBlockParts):
    """A block of timm's `Eva` with norms after the attention and after the feed-forward network."""

    def normed(self, x: Tensor) -> Tensor:
        """Return the tokens unchanged: there is no norm before the attention."""
        return x

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection and the norm. See `Block.output`."""
        return self.block.norm1(self._project_output(attended))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network with the residual connection."""
        return x + self.block.norm2(self.block.mlp(x))


def split_block(block: nn.Module, positions: Positions | None) -> Block:
    """Wrap a block that `supports_block` accepts. See `EvaBlockParts` for the arguments."""
    if type(block) is ViTBlock:
        return TimmBlock(block)
    kind = PostNormEvaBlock if type(block) is EvaBlockPostNorm else EvaBlockParts
    return kind(block, positions)


def _project_qkv(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project tokens (B, n, width) to q, k and v (B, heads, n, head width), before any norm."""
    if attn.qkv is None:
        parts = [layer(x) for layer in (attn.q_proj, attn.k_proj, attn.v_proj)]
        q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in parts)
        return q, k, v
    bias = attn.qkv.bias
    if getattr(attn, 'q_bias', None) is not None:
        bias = torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
    qkv = F.linear(x, attn.qkv.weight, bias)
    return qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


POOLS: dict[str, Pool] = {'token': 'class token', 'avg': 'mean', 'map': 'attention'}
"""Pools by timm's names."""


class TimmViT(TransformerTower):
    """A `VisionTransformer` or `Eva` of timm, with its own pool, and open_clip's head.

    Args:
        visual: image tower that `supports` accepts. Its own check of the image size is switched off.
    """

    visual: TimmModel

    def __init__(self, visual: TimmModel) -> None:
        super().__init__(visual)
        self.trunk: Any = visual.trunk
        self.trunk.patch_embed.strict_img_size = False
        self.n_prefix = self.trunk.num_prefix_tokens
        self.pool = POOLS[self.trunk.global_pool]
        rotary = getattr(self.trunk, 'rope', None) is not None
        self.blocks = [split_block(b, self._rotary_positions if rotary else None) for b in self.trunk.blocks]
        linear_head = isinstance(self.trunk.fc_norm, nn.Identity) and 'mlp' not in dict(
            visual.head.named_children()
        )
        pools_patches_alone = not (self.n_prefix and getattr(self.trunk, 'pool_include_prefix', False))
        self.averages = self.pool == 'mean' and linear_head and pools_patches_alone
        self._positions = ResampledPositions(0 if self.trunk.no_embed_class else self.n_prefix)
        self._rotary_cache: dict[tuple, Tensor] = {}

    @staticmethod
    def supports(visual: object) -> bool:
        """Whether this class reads an image tower."""
        trunk: Any = getattr(visual, 'trunk', None)
        if not isinstance(visual, TimmModel) or type(trunk) not in (VisionTransformer, Eva):
            return False
        pool, kind = trunk.attn_pool, type(trunk.attn_pool)
        supports_pool = pool is None or (
            kind is AttentionPoolLatent and pool.pos_embed is None and pool.latent_len == 1
        )
        return (
            supports_pool
            and trunk.global_pool in POOLS
            and 'pool' not in dict(visual.head.named_children())
            and not getattr(trunk, 'rope_mixed', False)
            and all(map(supports_block, trunk.blocks))
        )

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images. See `TransformerTower.embed`."""
        trunk = self.trunk
        images = self._crop_to_patches(images)
        grid = self._grid(images)
        patches = trunk.patch_embed(images)
        # [B, h, w, width] if the trunk takes any size, else [B, N, width].
        patches = patches.flatten(1, 2) if patches.ndim == 4 else patches
        tokens = (trunk.cls_token, trunk.reg_token)
        prefix = [token.expand(len(patches), -1, -1) for token in tokens if token is not None]
        positions = trunk.pos_embed
        if positions is not None:
            positions = self._positions(positions, tuple(trunk.patch_embed.grid_size), grid)
        if positions is not None and trunk.no_embed_class:
            patches = patches + positions.to(patches.dtype)
        x = torch.cat((*prefix, patches), 1)
        if positions is not None and not trunk.no_embed_class:
            x = x + positions.to(x.dtype)
        return trunk.norm_pre(x), grid

    def embedding(self, tokens: Tensor) -> Tensor:
        """Pool the tokens after the last block. See `TransformerTower.embedding`."""
        return self.visual.head(self.trunk.forward_head(self.trunk.norm(tokens)))

    def project(self, locations: Tensor) -> Tensor:
        """Project locations to the joint space. See `ImageTower.project`."""
        x = self.trunk.norm(locations)
        if self.pool == 'attention':
            x = _pool_single_tokens(self.trunk.attn_pool, x)
        return self.visual.head(self.trunk.head(self.trunk.fc_norm(x)))

    def pool_each(self, locations: Tensor) -> Tensor:
        """Pool each location by the trunk's own pool. See `ImageTower.pool_each`."""
        copies = 1 if self.pool == 'class token' else self.n_prefix + 1
        return self.embedding(locations[:, None].expand(-1, copies, -1))

    def _grid(self, images: Tensor) -> tuple[int, int]:
        return patch_grid(images, self._patch_size)

    @property
    def _patch_size(self) -> tuple[int, ...]:
        embed = self.trunk.patch_embed
        ratio = getattr(embed, 'feature_ratio', (1, 1))
        return tuple(a * b for a, b in zip(embed.patch_size, ratio))

    def whole_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Reduce the tower's own size to whole patches: SigLIP's 384 px to 378 px for patches of 14 px."""
        embed = self.trunk.patch_embed
        if size != tuple(embed.img_size):
            return size
        height, width = (n * side for n, side in zip(embed.grid_size, self._patch_size))
        return height, width

    def _crop_to_patches(self, images: Tensor) -> Tensor:
        height, width = self.whole_size((images.shape[-2], images.shape[-1]))
        return images[..., :height, :width]

    def _rotary_positions(self, grid: tuple[int, int]) -> Tensor:
        device = next(self.trunk.parameters()).device
        key = (grid, device)
        if key not in self._rotary_cache:
            # A copy: changing the grid in place would change the trunk's own forward pass.
            rope = copy.deepcopy(self.trunk.rope)
            if getattr(rope, 'feat_shape', None) is not None:
                rope.update_feat_shape(grid)
            self._rotary_cache[key] = rope.get_embed(grid).to(device)
        return self._rotary_cache[key]


def _pool_single_tokens(pool: AttentionPoolLatent, x: Tensor) -> Tensor:
    """Pool each token (..., width) alone: its attention weight is then 1."""
    _, weight = pool.kv.weight.chunk(2)
    bias = None if pool.kv.bias is None else pool.kv.bias.chunk(2)[1]
    x = pool.proj(F.linear(x, weight, bias))
    return x if pool.mlp is None else x + pool.mlp(pool.norm(x))
