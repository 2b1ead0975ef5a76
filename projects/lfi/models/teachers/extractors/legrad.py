"""LeGrad: how much more attention to a location would raise the score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from ..towers import Block
from .transformer import TransformerExtractor


@EXTRACTORS.register_module(name='legrad')
class LeGradExtractor(TransformerExtractor):
    """E_l = mean over heads and queries of ReLU(d s_l / d A_l), for each of the last blocks.

    s_l is the text's cosine with the mean of block l's tokens in the joint space, A_l the block's
    attention (Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature
    Formation Sensitivity", ICCV 2025, section 3). As published, each concept's mean over the blocks is
    brought to [0, 1] in each image: the blocks' maps are shifted and scaled by that mean's extremes, so
    that their mean is the published map. What is left says where a concept is, and no longer how much of
    it there is: concepts cannot be compared. It needs a gradient through half a block for each concept and
    block: for maps that are computed once and kept.

    Args:
        visual: the image tower, in eval mode.
        depth: how many of the last blocks. Defaults to 2, as in the authors' code.

    Raises:
        ValueError: if the tower has fewer than `depth` blocks.
    """

    directions = ('spatial',)
    cosines = False

    def __init__(self, visual: nn.Module, depth: int = 2) -> None:
        super().__init__(visual)
        self.before, self.last = self.split_blocks(depth)

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts; arguments and result as of `Extractor`."""
        x, grid = self.tower.embed(images)
        for block in self.before:
            x = block(x, grid)
        by_block = []
        for block in self.last:
            x, relevance = self._read(block, x, grid, texts)
            by_block.append(relevance)
        maps = torch.stack(by_block, 1).float()  # [B, L, C, N]
        merged = maps.mean(1, keepdim=True)
        low, high = merged.amin(-1, keepdim=True), merged.amax(-1, keepdim=True)
        maps = (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
        return maps.unflatten(-1, grid), F.normalize(self.tower.embedding(x), dim=-1)

    def _read(self, block: Block, x: Tensor, grid: tuple[int, int], texts: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output and its relevance (B, C, N)."""
        q, k, v = block.qkv(block.normed(x), grid)
        attended = F.scaled_dot_product_attention(q, k, v)
        relevance = []
        with torch.enable_grad():
            attended.requires_grad_()
            x = block.feed_forward(x + block.output(attended))
            scores = self.project(x.mean(1)) @ texts.T  # [B, C]
            for score in scores.sum(0):
                (gradient,) = torch.autograd.grad(score, attended, retain_graph=True)
                # attended = A v, so that d score / d A = (d score / d attended) v^T.
                relevance.append((gradient @ v.mT).relu().mean((1, 2))[:, self.tower.n_prefix :])
        return x.detach(), torch.stack(relevance, 1)
