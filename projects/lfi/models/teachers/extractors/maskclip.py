"""MaskCLIP: the attention that pools becomes the identity."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from ..towers import Block, TransformerTower, tower_of
from .dense import features_of_locations
from .transformer import LastBlockExtractor


@EXTRACTORS.register_module(name='maskclip')
class MaskCLIPExtractor(LastBlockExtractor):
    """Each location keeps its own value in the attention that pools; the rest of the layer stays.

    Where a tower pools by an attention of its own (ResNets, SigLIP, PE-Core), a location goes through that
    pool's value and output projection, and its feed-forward network where it has one. Elsewhere the pool's
    place is the last block: with v = out_proj(value(ln_1(x))), a patch becomes x + v + ffn(x + v) (Zhou et
    al., "Extract Free Dense Labels from CLIP", ECCV 2022, section 3.2). Maps are cosines. It costs about one
    plain forward pass, whatever the number of concepts.

    Args:
        visual: the image tower, in eval mode.

    Raises:
        ValueError: if no extractor reads the tower, or it averages a CNN's features.
    """

    def __init__(self, visual: nn.Module) -> None:
        tower = tower_of(visual)
        if tower.pool != 'attention':
            super().__init__(visual)
            return
        self.visual = visual
        # No block of it is read.
        self.tower = cast(TransformerTower, tower)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images; arguments and result as of `DenseExtractor`."""
        if self.tower.pool == 'attention':
            return features_of_locations(self.tower, images)
        return super().features(images)

    def patch_tokens(
        self, block: Block, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Change the last block; arguments and result as of `LastBlockExtractor`."""
        patches = slice(self.tower.n_prefix, None)
        return block.feed_forward(x[:, patches] + block.output(v[:, :, patches]))
