"""LeGrad: gradients of the concepts' scores with respect to attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from ..towers import Block
from .transformer import TransformerExtractor


@EXTRACTORS.register_module(name='legrad')
class LeGradExtractor(TransformerExtractor):
    """Maps of relevance E_l = mean over heads and queries of ReLU(d s_l / d A_l), for the last blocks.

    s_l is the text's cosine with the mean of block l's tokens in the joint space, and A_l the block's
    attention (Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature
    Formation Sensitivity", ICCV 2025, section 3). As published, each concept's mean over the blocks is
    scaled to [0, 1] in each image: the blocks' maps are shifted and scaled by the extremes of that mean, so
    that their mean is the published map. This removes the magnitude, so that concepts cannot be compared.
    Each concept and block needs a gradient through half a block: use this extractor to write a cache.

    Args:
        visual: image tower, in eval mode.
        depth: number of last blocks. Defaults to 2, as in the authors' code.

    Raises:
        ValueError: if the tower has fewer than `depth` blocks.
    """

    directions = ('spatial',)
    gives_cosines = False

    def __init__(self, visual: nn.Module, depth: int = 2) -> None:
        super().__init__(visual)
        self.first_blocks, self.last_blocks = self.split_blocks(depth)

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts. See `Extractor.__call__`."""
        x, grid = self.tower.embed(images)
        for block in self.first_blocks:
            x = block(x, grid)
        relevances = []
        for block in self.last_blocks:
            x, relevance = self._apply(block, x, grid, texts)
            relevances.append(relevance)
        maps = torch.stack(relevances, 1).float()  # [B, L, C, N]
        mean = maps.mean(1, keepdim=True)
        low, high = mean.amin(-1, keepdim=True), mean.amax(-1, keepdim=True)
        maps = (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
        return maps.unflatten(-1, grid), F.normalize(self.tower.embedding(x), dim=-1)

    def _apply(self, block: Block, x: Tensor, grid: tuple[int, int], texts: Tensor) -> tuple[Tensor, Tensor]:
        """Apply a block. Returns its output and its relevance (B, C, N)."""
        q, k, v = block.qkv(block.normed(x), grid)
        attended = F.scaled_dot_product_attention(q, k, v)
        relevance = []
        with torch.enable_grad():
            attended.requires_grad_()
            x = block.feed_forward(x + block.output(attended))
            scores = self.project(x.mean(1)) @ texts.T  # [B, C]
            for score in scores.sum(0):
                (gradient,) = torch.autograd.grad(score, attended, retain_graph=True)
                # attended = A v, hence d score / d A = (d score / d attended) v^T.
                relevance.append((gradient @ v.mT).relu().mean((1, 2))[:, self.tower.n_prefix :])
        return x.detach(), torch.stack(relevance, 1)
