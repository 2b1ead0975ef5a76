"""ClearCLIP: query-query attention, no residual, no feed-forward in the last block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lfi.registry import EXTRACTORS

from ..towers import Block
from .transformer import LastBlockExtractor


@EXTRACTORS.register_module(name='clearclip')
class ClearCLIPExtractor(LastBlockExtractor):
    """Maps of the patch tokens out_proj(softmax(q q^T / sqrt(d)) v) in the last block.

    (Lan et al., "ClearCLIP: Decomposing CLIP Representations for Dense Vision-Language Inference", ECCV
    2024, section 3.) A class token takes part in the attention and is dropped from the map. Maps are
    cosines. The cost is about one plain forward pass, regardless of the number of concepts.
    """

    def patch_tokens(
        self, block: Block, x: Tensor, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> Tensor:
        """Compute the patches' tokens. See `LastBlockExtractor.patch_tokens`."""
        return block.output(F.scaled_dot_product_attention(q[:, :, self.tower.n_prefix :], q, v))
