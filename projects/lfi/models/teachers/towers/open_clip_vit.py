"""open_clip's own vision transformer, whose attention keeps no weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from .base import Block, ResampledPositions, TransformerTower, merge_heads, patch_grid


class TokenEmbedding:
    """The tokens that enter a ViT's first block, for images of any size that complete patches fill.

    For another grid than the tower's own the position embeddings are interpolated (bicubic), once a grid.

    Args:
        visual: the tower.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        self.visual = visual
        self._positions = ResampledPositions()

    def __call__(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images; arguments and result as of `TransformerTower.embed`."""
        grid = patch_grid(images, self.visual.patch_size)
        patches = self.visual.conv1(images).flatten(2).mT  # [B, N, width]
        class_token = self.visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        own = self.visual.positional_embedding[None]
        positions = self._positions(own, self.visual.grid_size, grid)  # [1, 1 + N, width]
        x = torch.cat((class_token, patches), 1) + positions.to(patches.dtype)
        return self.visual.ln_pre(x), grid


class OpenClipBlock(Block):
    """A block of open_clip's transformers.

    Args:
        block: the module.
    """

    def __init__(self, block: ResidualAttentionBlock) -> None:
        self.block = block

    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the block; as of `Block`."""
        return self.block(x)

    def normed(self, x: Tensor) -> Tensor:
        """Apply the norm; as of `Block`."""
        return self.block.ln_1(x)

    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values; as of `Block`."""
        attn = self.block.attn
        qkv = F.linear(normed, attn.in_proj_weight, attn.in_proj_bias)
        return qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection; as of `Block`."""
        return self.block.ls_1(self.block.attn.out_proj(merge_heads(attended)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network; as of `Block`."""
        return x + self.block.ls_2(self.block.mlp(self.block.ln_2(x)))


class OpenClipViT(TransformerTower):
    """open_clip's plain ViT: OpenAI's and LAION's CLIPs, CLIPA, and their like.

    Args:
        visual: the tower, one that `reads` accepts.
    """

    visual: VisionTransformer
    n_prefix = 1

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__(visual)
        self.embed_tokens = TokenEmbedding(visual)
        self.blocks = [OpenClipBlock(block) for block in visual.transformer.resblocks]
        self.pool = 'class token' if visual.pool_type == 'tok' else 'mean'
        self.averages = self.pool == 'mean' and not visual.final_ln_after_pool

    @staticmethod
    def reads(visual: object) -> bool:
        """Whether a tower is of this kind."""
        return (
            isinstance(visual, VisionTransformer)
            and visual.attn_pool is None
            and visual.pool_type in ('tok', 'avg')
            and all(type(block) is ResidualAttentionBlock for block in visual.transformer.resblocks)
        )

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images; arguments and result as of `TransformerTower`."""
        return self.embed_tokens(images)

    def embedding(self, tokens: Tensor) -> Tensor:
        """Pool the tokens after the last block; as of `TransformerTower`."""
        # The mean of the projected tokens is the projected mean, unless the norm lies between.
        x = tokens[:, 0] if self.pool == 'class token' else tokens[:, 1:]
        if self.visual.final_ln_after_pool and self.pool == 'mean':
            x = x.mean(1)
        x = self.project(x)
        return x.mean(1) if self.averages else x

    def project(self, locations: Tensor) -> Tensor:
        """Bring locations to the joint space; as of `ImageTower`."""
        return self.visual.ln_post(locations) @ self.visual.proj

    def alone(self, locations: Tensor) -> Tensor:
        """By the tower's own pool; as of `ImageTower`."""
        return self.visual._pool(locations[:, None].expand(-1, 2, -1))[0] @ self.visual.proj
