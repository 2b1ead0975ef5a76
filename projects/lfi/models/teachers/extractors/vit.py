"""Access to open_clip's own vision transformer, whose attention keeps no weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from .base import DenseExtractor, Extractor


class TokenEmbedding:
    """The tokens that enter a ViT's first block, for images of any size that complete patches fill.

    For another grid than the tower's own the position embeddings are interpolated (bicubic), once a grid.

    Args:
        visual: the tower.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        self.visual = visual
        self._resampled: dict[tuple, Tensor] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.

        Returns:
            The tokens (B, 1 + N, width), the class token first, and the grid (h, w) of the N patches.

        Raises:
            ValueError: as `patch_grid` says.
        """
        grid = patch_grid(images, self.visual.patch_size)
        patches = self.visual.conv1(images).flatten(2).mT  # [B, N, width]
        class_token = self.visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        x = torch.cat((class_token, patches), 1) + self._positions(grid).to(patches.dtype)
        return self.visual.ln_pre(x), grid

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        own = self.visual.positional_embedding
        if grid == self.visual.grid_size:
            return own
        key = (grid, own.device)
        if key not in self._resampled:
            resampled = resample_abs_pos_embed(own[None], list(grid), list(self.visual.grid_size))
            self._resampled[key] = resampled[0]
        return self._resampled[key]


class ViTExtractor(Extractor):
    """Base of the extractors that go through open_clip's plain ViT block by block.

    Args:
        visual: the image tower, in eval mode.

    Raises:
        ValueError: if the tower is not open_clip's plain ViT.
    """

    visual: VisionTransformer

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        plain = (
            isinstance(visual, VisionTransformer)
            and visual.attn_pool is None
            and visual.pool_type == 'tok'
            and all(type(block) is ResidualAttentionBlock for block in visual.transformer.resblocks)
        )
        if not plain:
            raise ValueError(
                f"{type(self).__name__} reads open_clip's plain ViT (ViT-B-16 and its like), not this "
                f"model's {type(visual).__name__}; the extractor 'dense' reads CNN trunks, 'coca' CoCa models"
            )
        self.embed = TokenEmbedding(visual)
        self.blocks: Any = self.visual.transformer.resblocks

    def split_blocks(self, depth: int) -> tuple[Any, Any]:
        """The blocks before the last `depth` ones, and these, each as a `ModuleList`.

        Raises:
            ValueError: if there are fewer.
        """
        if not 1 <= depth <= len(self.blocks):
            raise ValueError(f"depth={depth} must be from 1 to the teacher's {len(self.blocks)} blocks")
        return self.blocks[:-depth], self.blocks[-depth:]

    def project(self, tokens: Tensor) -> Tensor:
        """Bring tokens (..., width) to the joint space (..., E), of unit length."""
        return F.normalize(self.visual.ln_post(tokens) @ self.visual.proj, dim=-1)

    def pool(self, tokens: Tensor) -> Tensor:
        """The tower's own embedding (B, E), from the tokens after the last block."""
        return self.visual.ln_post(tokens[:, 0]) @ self.visual.proj


class LastBlockExtractor(ViTExtractor, DenseExtractor):
    """Base of the extractors that change the last block for patches, and run all others as they are.

    The class token passes the last block unchanged, so that the pooled embedding is the tower's own.

    Args:
        visual: the image tower, in eval mode.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self.block: Any = self.blocks[-1]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images; arguments and result as of `DenseExtractor`."""
        x, grid = self.embed(images)
        for block in self.blocks[:-1]:
            x = block(x)
        q, k, v = projections(self.block, self.block.ln_1(x))

        attended = merge_heads(self.block, F.scaled_dot_product_attention(q[:, :, :1], k, v))
        pooled = self.pool(feed_forward(self.block, x[:, :1] + self.block.ls_1(attended)))

        patches = self.patch_tokens(x, q, k, v, grid)  # [B, N, width]
        return self.project(patches).mT.unflatten(-1, grid)[:, None], pooled

    def patch_tokens(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """The patches' tokens (B, N, width) after the changed block.

        Args:
            x: (B, 1 + N, width), the tokens that enter the block.
            q: (B, heads, 1 + N, head width), their queries.
            k: their keys, shaped alike.
            v: their values, shaped alike.
            grid: (h, w) of the N patches.
        """
        raise NotImplementedError


def patch_grid(images: Tensor, patch_size: tuple[int, int]) -> tuple[int, int]:
    """The grid (h, w) of an image tower's patches.

    Args:
        images: (B, 3, H, W).
        patch_size: height and width in pixels.

    Raises:
        ValueError: if patches do not fill the images.
    """
    size = tuple(images.shape[-2:])
    if any(side % step for side, step in zip(size, patch_size)):
        raise ValueError(f"input_size={size} must be a multiple of the teacher's patch size {patch_size}")
    return size[0] // patch_size[0], size[1] // patch_size[1]


def projections(block: ResidualAttentionBlock, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of normed tokens (B, n, width), each (B, heads, n, head width)."""
    attn = block.attn
    qkv = F.linear(normed, attn.in_proj_weight, attn.in_proj_bias)
    return qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def merge_heads(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """(B, heads, n, head width) through the block's output projection, (B, n, width)."""
    return block.attn.out_proj(x.transpose(1, 2).flatten(2))


def feed_forward(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Apply the block's feed-forward network to tokens (B, n, width), with its residual."""
    return x + block.ls_2(block.mlp(block.ln_2(x)))
