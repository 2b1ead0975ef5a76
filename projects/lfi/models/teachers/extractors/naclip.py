"""NACLIP: key-key attention with a Gaussian neighbourhood, no residual, no feed-forward in the last block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.registry import EXTRACTORS

from ..towers import Block
from .transformer import LastBlockExtractor

# Standard deviation of the neighbourhood, in patches.
STD = 5.0


@EXTRACTORS.register_module(name='naclip')
class NACLIPExtractor(LastBlockExtractor):
    """Maps of the patch tokens out_proj(softmax(k k^T / sqrt(d) + w) v) in the last block.

    w = exp(-|distance|^2 / (2 * 5^2)), in patches, favours each patch's neighbours. A class token has w = 0
    and is dropped from the map (Hajimiri et al., "Pay Attention to Your Neighbours: Training-Free
    Open-Vocabulary Semantic Segmentation", WACV 2025, section 3). Maps are cosines. The cost is about one
    plain forward pass, regardless of the number of concepts.

    Args:
        visual: image tower, in eval mode.
    """

    def patch_tokens(
        self, block: Block, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Compute the patches' tokens. See `LastBlockExtractor.patch_tokens`."""
        n_prefix = self.tower.n_prefix
        along_y, along_x = (self._gaussian(side, k) for side in grid)
        neighbourhood = F.pad(torch.kron(along_y, along_x), (n_prefix, 0))  # [N, P + N]
        attended = F.scaled_dot_product_attention(k[:, :, n_prefix:], k, v, attn_mask=neighbourhood)
        return block.output(attended)

    def _gaussian(self, side: int, reference: Tensor) -> Tensor:
        index = torch.arange(side, device=reference.device)
        return (-(index[:, None] - index).square() / (2 * STD**2)).exp().to(reference.dtype)
