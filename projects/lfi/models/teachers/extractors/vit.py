"""Access to the last block of open_clip's own vision transformer, whose attention keeps no weights."""

from __future__ import annotations

import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from .base import DenseExtractor


class LastBlockExtractor(DenseExtractor):
    """Base of the extractors that run all blocks but the last as they are, and change the last for patches.

    The class token goes the ordinary way, so that the pooled embedding is the tower's own.

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
            and type(visual.transformer.resblocks[-1]) is ResidualAttentionBlock
        )
        if not plain:
            raise ValueError(
                f"{type(self).__name__} reads open_clip's plain ViT (ViT-B-16 and its like), not this "
                f"model's {type(visual).__name__}; the extractor 'dense' reads CNN trunks"
            )
        self.block = visual.transformer.resblocks[-1]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.shape[-2:] != self.visual.image_size:
            raise ValueError(
                f'input_size={tuple(images.shape[-2:])} does not fit the position embeddings of the teacher; '
                f'it takes {self.visual.image_size}'
            )
        x = self.visual._embeds(images)
        for block in self.visual.transformer.resblocks[:-1]:
            x = block(x)
        attn = self.block.attn
        qkv = F.linear(self.block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
        qkv = qkv.unflatten(-1, (3, attn.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x [B, heads, 1 + N, D]

        attended = self.merge_heads(F.scaled_dot_product_attention(q[:, :, :1], k, v))
        class_token = self.feed_forward(x[:, :1] + self.block.ls_1(attended))
        pooled = self.visual._pool(class_token)[0] @ self.visual.proj

        patches = self.patch_tokens(x, q, k, v)  # [B, N, width]
        places = F.normalize(self.visual.ln_post(patches) @ self.visual.proj, dim=-1)
        height, width = images.shape[-2:]
        grid = (height // self.visual.patch_size[0], width // self.visual.patch_size[1])
        return places.mT.unflatten(-1, grid)[:, None], pooled

    def patch_tokens(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The patches' tokens (B, N, width) after the changed block.

        Args:
            x: (B, 1 + N, width), the tokens that enter the block.
            q, k, v: (B, heads, 1 + N, head width), their projections.
        """
        raise NotImplementedError

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, heads, n, head width) through the block's output projection, (B, n, width)."""
        return self.block.attn.out_proj(x.transpose(1, 2).flatten(2))

    def feed_forward(self, x: Tensor) -> Tensor:
        """The block's second half."""
        return x + self.block.ls_2(self.block.mlp(self.block.ln_2(x)))
