"""Bases of the extractors that go through a transformer block by block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..towers import Block, ImageTower, TransformerTower, tower_of
from .base import DenseExtractor, Extractor


class TransformerExtractor(Extractor):
    """Base of the extractors that read the blocks of a transformer, whoever wrote it.

    Args:
        visual: the image tower, in eval mode.

    Raises:
        ValueError: if the tower is none that `tower_of` knows, or no transformer.
    """

    tower: TransformerTower

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self.tower = transformer_of(tower_of(visual), type(self).__name__)

    def split_blocks(self, depth: int) -> tuple[Sequence[Block], Sequence[Block]]:
        """The blocks before the last `depth` ones, and these.

        Raises:
            ValueError: if there are fewer.
        """
        blocks = self.tower.blocks
        if not 1 <= depth <= len(blocks):
            raise ValueError(f"depth={depth} must be from 1 to the teacher's {len(blocks)} blocks")
        return blocks[:-depth], blocks[-depth:]

    def project(self, tokens: Tensor) -> Tensor:
        """Bring tokens (..., width) to the joint space (..., E), of unit length."""
        return F.normalize(self.tower.project(tokens), dim=-1)


class LastBlockExtractor(TransformerExtractor, DenseExtractor):
    """Base of the extractors that change the last block for patches, and run all others as they are.

    What the pool reads passes the last block unchanged, so that the pooled embedding is the tower's own.

    Args:
        visual: the image tower, in eval mode.
    """

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images; arguments and result as of `DenseExtractor`."""
        x, grid = self.tower.embed(images)
        *before, block = self.tower.blocks
        for each in before:
            x = each(x, grid)
        q, k, v = block.qkv(block.normed(x), grid)

        pooled = self.tower.pooled_tokens
        attended = block.output(F.scaled_dot_product_attention(q[:, :, pooled], k, v))
        embedding = self.tower.embedding(block.feed_forward(x[:, pooled] + attended))

        patches = self.patch_tokens(block, x, q, k, v, grid)  # [B, N, width]
        return self.project(patches).mT.unflatten(-1, grid)[:, None], embedding

    @abstractmethod
    def patch_tokens(
        self, block: Block, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """The patches' tokens (B, N, width) after the changed block.

        Args:
            block: the last one.
            x: (B, P + N, width), the tokens that enter it: P, `tower.n_prefix`, stand before the patches'.
            q: (B, heads, P + N, head width), their queries.
            k: their keys, shaped alike.
            v: their values, shaped alike.
            grid: (h, w) of the N patches.
        """


def transformer_of(tower: ImageTower, extractor: str) -> TransformerTower:
    """The tower, if it is a transformer.

    Raises:
        ValueError: if it is not; the message names the extractor, and says which fits.
    """
    if not isinstance(tower, TransformerTower):
        raise ValueError(
            f"{extractor} reads the blocks of a transformer, and this model's image tower, a "
            f'{type(getattr(tower.visual, "trunk", tower.visual)).__name__}, has none: use the extractor '
            "'dense'"
        )
    return tower
