"""MaskCLIP: the last block's attention becomes the identity."""

from __future__ import annotations

from torch import Tensor

from lfi.registry import EXTRACTORS

from .vit import LastBlockExtractor, feed_forward, merge_heads


@EXTRACTORS.register_module(name='maskclip')
class MaskCLIPExtractor(LastBlockExtractor):
    """Each patch keeps its own value in the last block; residual and feed-forward stay.

    With v = out_proj(value(ln_1(x))), a patch becomes x + v + ffn(x + v) (Zhou et al., "Extract Free Dense
    Labels from CLIP", ECCV 2022, section 3.2). Maps are cosines. It costs one plain forward pass, whatever
    the number of concepts.
    """

    def patch_tokens(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """Change the last block; arguments and result as of `LastBlockExtractor`."""
        values = merge_heads(self.block, v[:, :, 1:])
        return feed_forward(self.block, x[:, 1:] + self.block.ls_1(values))
