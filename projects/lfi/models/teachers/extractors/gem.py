"""GEM: self-self attention on a parallel path through the last blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from .base import DenseExtractor
from .transformer import TransformerExtractor


@EXTRACTORS.register_module(name='gem')
class GEMExtractor(TransformerExtractor, DenseExtractor):
    """Maps of a parallel path: each of the last blocks adds out_proj(mean of A(p, v) over p = q, k, v).

    A(p, v) = softmax(p' p'^T / tau) v, where p' = softmax(p p^T / tau) p, with p and p' normalised, and
    1 / tau = mean length of the attention's input tokens / sqrt(d). The path has no feed-forward network, and
    q, k and v come from the ordinary path (Bousselham et al., "Grounding Everything: Emerging Localization
    Properties in Vision-Language Transformers", CVPR 2024, section 3). The path gives one map after each of
    these blocks; the last one is the published map. Maps are cosines. The cost is one plain forward pass and
    six more attentions in each of these blocks, regardless of the number of concepts.

    Args:
        visual: image tower, in eval mode.
        depth: number of last blocks. Defaults to 6, as in the authors' code.

    Raises:
        ValueError: if the tower has fewer than `depth` blocks.
    """

    def __init__(self, visual: nn.Module, depth: int = 6) -> None:
        super().__init__(visual)
        self.first_blocks, self.last_blocks = self.split_blocks(depth)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images. See `DenseExtractor.features`."""
        x, grid = self.tower.embed(images)
        for block in self.first_blocks:
            x = block(x, grid)
        path, locations = x, []
        for block in self.last_blocks:
            normed = block.normed(x)
            q, k, v = block.qkv(normed, grid)
            inverse_temperature = normed.norm(dim=-1).mean(-1)[:, None, None, None] / q.shape[-1] ** 0.5
            by_q, by_k, by_v = (_self_self_attention(p, v, inverse_temperature) for p in (q, k, v))
            path = path + block.output((by_q + by_k + by_v) / 3)
            locations.append(self.project(path[:, self.tower.n_prefix :]))
            x = block.feed_forward(x + block.output(F.scaled_dot_product_attention(q, k, v)))
        return torch.stack(locations, 1).mT.unflatten(-1, grid), self.tower.embedding(x)


def _self_self_attention(p: Tensor, v: Tensor, inverse_temperature: Tensor) -> Tensor:
    root = inverse_temperature.sqrt().to(p.dtype)
    unit = F.normalize(p, dim=-1)
    unit = F.normalize(F.scaled_dot_product_attention(root * unit, root * unit, unit, scale=1.0), dim=-1)
    return F.scaled_dot_product_attention(root * unit, root * unit, v, scale=1.0)
