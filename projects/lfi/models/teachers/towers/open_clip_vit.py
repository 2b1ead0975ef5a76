"""open_clip's own vision transformer as an image tower."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from .base import Block, ResampledPositions, TransformerTower, merge_heads, patch_grid


class TokenEmbedding:
    """Embedding of images as the input tokens of a ViT's first block, for any multiple of the patch size.

    Position embeddings are interpolated (bicubic) if the grid is not the tower's own, once for each grid.

    Args:
        visual: image tower.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        self.visual = visual
        self._positions = ResampledPositions()

    def __call__(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images. See `TransformerTower.embed`."""
        grid = patch_grid(images, self.visual.patch_size)
        patches = self.visual.conv1(images).flatten(2).mT  # [B, N, width]
        class_token = self.visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        positions = self.visual.positional_embedding[None]
        positions = self._positions(positions, self.visual.grid_size, grid)  # [1, 1 + N, width]
        x = torch.cat((class_token, patches), 1) + positions.to(patches.dtype)
        return self.visual.ln_pre(x), grid


class OpenClipBlock(Block):
    """A block of open_clip's transformers.

    Args:
        block: module of the block.
    """

    def __init__(self, block: ResidualAttentionBlock) -> None:
        self.block = block

    def __call__(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply the unchanged block."""
        return self.block(x)

    def normed(self, x: Tensor) -> Tensor:
        """Apply the norm before the attention."""
        return self.block.ln_1(x)

    def qkv(self, normed: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values. See `Block.qkv`."""
        attn = self.block.attn
        qkv = F.linear(normed, attn.in_proj_weight, attn.in_proj_bias)
        return qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def output(self, attended: Tensor) -> Tensor:
        """Apply the output projection. See `Block.output`."""
        return self.block.ls_1(self.block.attn.out_proj(merge_heads(attended)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network with the residual connection."""
        return x + self.block.ls_2(self.block.mlp(self.block.ln_2(x)))


class OpenClipViT(TransformerTower):
    """open_clip's plain ViT, as in OpenAI's and LAION's CLIPs and CLIPA.

    Args:
        visual: image tower that `supports` accepts.
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
    def supports(visual: object) -> bool:
        """Whether this class reads an image tower."""
        return (
            isinstance(visual, VisionTransformer)
            and visual.attn_pool is None
            and visual.pool_type in ('tok', 'avg')
            and all(type(block) is ResidualAttentionBlock for block in visual.transformer.resblocks)
        )

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images. See `TransformerTower.embed`."""
        return self.embed_tokens(images)

    def embedding(self, tokens: Tensor) -> Tensor:
        """Pool the tokens after the last block. See `TransformerTower.embedding`."""
        # `ln_post` follows or precedes the mean, depending on the tower.
        x = tokens[:, 0] if self.pool == 'class token' else tokens[:, 1:]
        if self.visual.final_ln_after_pool and self.pool == 'mean':
            x = x.mean(1)
        x = self.project(x)
        return x.mean(1) if self.averages else x

    def project(self, locations: Tensor) -> Tensor:
        """Project locations to the joint space. See `ImageTower.project`."""
        return self.visual.ln_post(locations) @ self.visual.proj

    def pool_each(self, locations: Tensor) -> Tensor:
        """Pool each location by the tower's own pool. See `ImageTower.pool_each`."""
        return self.visual._pool(locations[:, None].expand(-1, 2, -1))[0] @ self.visual.proj
