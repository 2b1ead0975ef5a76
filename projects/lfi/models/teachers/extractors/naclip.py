"""NACLIP: key-key attention with a Gaussian neighbourhood, no residual, no feed-forward in the last block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.registry import EXTRACTORS

from ..towers import Block
from .transformer import LastBlockExtractor

# Of the neighbourhood, in patches.
STD = 5.0


@EXTRACTORS.register_module(name='naclip')
class NACLIPExtractor(LastBlockExtractor):
    """A patch becomes out_proj(softmax(k k^T / sqrt(d) + w) v), and nothing else.

    w = exp(-|distance|^2 / (2 * 5^2)), in patches, draws each patch to its neighbours; a class token gets
    none of it and is dropped from the map (Hajimiri et al., "Pay Attention to Your Neighbours:
    Training-Free Open-Vocabulary Semantic Segmentation", WACV 2025, section 3). Maps are cosines. It costs
    about one plain forward pass, whatever the number of concepts.

    Args:
        visual: the image tower, in eval mode.
    """

    def patch_tokens(
        self, block: Block, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Change the last block; arguments and result as of `LastBlockExtractor`."""
        n_prefix = self.tower.n_prefix
        along_y, along_x = (self._gaussian(side, k) for side in grid)
        neighbourhood = F.pad(torch.kron(along_y, along_x), (n_prefix, 0))  # [N, P + N]
        attended = F.scaled_dot_product_attention(k[:, :, n_prefix:], k, v, attn_mask=neighbourhood)
        return block.output(attended)

    def _gaussian(self, side: int, like: Tensor) -> Tensor:
        at = torch.arange(side, device=like.device)
        return (-(at[:, None] - at).square() / (2 * STD**2)).exp().to(like.dtype)
