"""Base classes of extractors that run a transformer block by block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..towers import Block, ImageTower, TransformerTower, tower_of
from .base import DenseExtractor, Extractor


class TransformerExtractor(Extractor):
    """Base class of extractors that read the blocks of a transformer, from any library.

    Args:
        visual: image tower, in eval mode.

    Raises:
        ValueError: if `tower_of` does not know the tower, or the tower is not a transformer.
    """

    tower: TransformerTower

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self.tower = transformer_of(tower_of(visual), type(self).__name__)

    def split_blocks(self, depth: int) -> tuple[Sequence[Block], Sequence[Block]]:
        """Split the blocks into those before the last `depth` blocks, and the last `depth` blocks.

        Raises:
            ValueError: if the tower has fewer blocks.
        """
        blocks = self.tower.blocks
        if not 1 <= depth <= len(blocks):
            raise ValueError(f"depth={depth} must be from 1 to the teacher's {len(blocks)} blocks")
        return blocks[:-depth], blocks[-depth:]

    def project(self, tokens: Tensor) -> Tensor:
        """Project tokens (..., width) to the joint space (..., E), of unit length."""
        return F.normalize(self.tower.project(tokens), dim=-1)


class LastBlockExtractor(TransformerExtractor, DenseExtractor):
    """Base class of extractors that change the last block for patches, and no other block.

    The tokens that the pool reads pass the unchanged last block, so that the embedding is the tower's own.

    Args:
        visual: image tower, in eval mode.
    """

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images. See `DenseExtractor.features`."""
        x, grid = self.tower.embed(images)
        *blocks, last_block = self.tower.blocks
        for block in blocks:
            x = block(x, grid)
        q, k, v = last_block.qkv(last_block.normed(x), grid)

        pooled = self.tower.pooled_tokens
        attended = last_block.output(F.scaled_dot_product_attention(q[:, :, pooled], k, v))
        embedding = self.tower.embedding(last_block.feed_forward(x[:, pooled] + attended))

        patches = self.patch_tokens(last_block, x, q, k, v, grid)  # [B, N, width]
        return self.project(patches).mT.unflatten(-1, grid)[:, None], embedding

    @abstractmethod
    def patch_tokens(
        self, block: Block, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Compute the patches' tokens (B, N, width) after the changed last block.

        Args:
            block: last block.
            x: (B, P + N, width), input tokens of the block: P = `tower.n_prefix` prefix tokens, then patches.
            q: (B, heads, P + N, head width), queries.
            k: (B, heads, P + N, head width), keys.
            v: (B, heads, P + N, head width), values.
            grid: (h, w), grid of the N patches.
        """


def transformer_of(tower: ImageTower, extractor: str) -> TransformerTower:
    """Return the tower, checked to be a transformer.

    Raises:
        ValueError: if the tower is no transformer. The message names an extractor that fits.
    """
    if not isinstance(tower, TransformerTower):
        raise ValueError(
            f"{extractor} reads the blocks of a transformer, and this model's image tower, a "
            f'{type(getattr(tower.visual, "trunk", tower.visual)).__name__}, has none: use the extractor '
            "'dense'"
        )
    return tower
