"""open_clip's ResNet with attention pooling, the first CLIP's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from .base import ImageTower, ResampledPositions, merge_heads, refuse_part_of_stride

# Of stem and layers, whatever the ResNet's size.
STRIDE = 32


class AttentionPooledResNet(ImageTower):
    """A ResNet whose last feature map a query, the map's mean, reads by attention.

    A location goes through the pool's value and output projection alone, without a position, as MaskCLIP
    does (Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022, section 3.2).

    Args:
        visual: the tower, one that `reads` accepts.
    """

    visual: ModifiedResNet
    pool = 'attention'

    def __init__(self, visual: ModifiedResNet) -> None:
        super().__init__(visual)
        self.layers = nn.Sequential(visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        self._positions = ResampledPositions()

    @staticmethod
    def reads(visual: object) -> bool:
        """Whether a tower is of this kind."""
        return isinstance(visual, ModifiedResNet)

    def locations(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Pass images through the tower; arguments and result as of `ImageTower`."""
        refuse_part_of_stride(images, STRIDE)
        features = self.layers(self.visual.stem(images))  # [B, C, h, w]
        grid = tuple(features.shape[-2:])
        locations = features.flatten(2).mT
        return locations, grid, self._pooled(locations, self._positions_of(grid))

    def project(self, locations: Tensor) -> Tensor:
        """Bring locations to the joint space; as of `ImageTower`."""
        return self.visual.attnpool.c_proj(self.visual.attnpool.v_proj(locations))

    def alone(self, locations: Tensor) -> Tensor:
        """By the pool without positions, whose attention to a location and to itself as the mean is one."""
        return self._pooled(locations[:, None], locations.new_zeros(2, locations.shape[1]))

    def _pooled(self, locations: Tensor, positions: Tensor) -> Tensor:
        pool = self.visual.attnpool
        x = torch.cat((locations.mean(1, keepdim=True), locations), 1) + positions.to(locations.dtype)
        of = (pool.q_proj(x[:, :1]), pool.k_proj(x), pool.v_proj(x))
        q, k, v = (part.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for part in of)
        return pool.c_proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))[:, 0]

    def _positions_of(self, grid: tuple[int, int]) -> Tensor:
        own = self.visual.attnpool.positional_embedding
        side = round((len(own) - 1) ** 0.5)
        return self._positions(own[None], (side, side), grid)[0]
