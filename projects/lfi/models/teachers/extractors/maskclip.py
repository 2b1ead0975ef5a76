"""MaskCLIP: identity in place of the attention that pools."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from ..towers import Block, TransformerTower, tower_of
from .dense import features_of_locations
from .transformer import LastBlockExtractor


@EXTRACTORS.register_module(name='maskclip')
class MaskCLIPExtractor(LastBlockExtractor):
    """Maps of locations that attend only to themselves in the attention that pools.

    In a tower with an attention pool (ResNets, SigLIP, PE-Core), a location passes through the pool's value
    and output projections, and its feed-forward network if any. In other towers the last block is changed:
    with v = out_proj(value(ln_1(x))), a patch becomes x + v + ffn(x + v) (Zhou et al., "Extract Free Dense
    Labels from CLIP", ECCV 2022, section 3.2). Maps are cosines. The cost is about one plain forward pass,
    regardless of the number of concepts.

    Args:
        visual: image tower, in eval mode.

    Raises:
        ValueError: if no class of `towers` reads the tower, or the tower averages a CNN's features.
    """

    def __init__(self, visual: nn.Module) -> None:
        tower = tower_of(visual)
        if tower.pool != 'attention':
            super().__init__(visual)
            return
        self.visual = visual
        # This extractor then reads only the pool, no block.
        self.tower = cast(TransformerTower, tower)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images. See `DenseExtractor.features`."""
        if self.tower.pool == 'attention':
            return features_of_locations(self.tower, images)
        return super().features(images)

    def patch_tokens(
        self, block: Block, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Compute the patches' tokens. See `LastBlockExtractor.patch_tokens`."""
        patches = slice(self.tower.n_prefix, None)
        return block.feed_forward(x[:, patches] + block.output(v[:, :, patches]))
