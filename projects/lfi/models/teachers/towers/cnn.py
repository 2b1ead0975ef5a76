"""CNNs as image towers: CLIP's ResNet with attention pooling, and timm's CNNs, such as ConvNeXt."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from .base import ImageTower, ResampledPositions, check_stride, merge_heads

# Stride of stem and layers, for ResNets of all sizes.
STRIDE = 32


class AttentionPooledResNet(ImageTower):
    """A ResNet with attention pooling; the query is the mean of the last feature map.

    A location passes only through the pool's value and output projections, without a position, as in MaskCLIP
    (Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022, section 3.2).

    Args:
        visual: image tower that `supports` accepts.
    """

    visual: ModifiedResNet
    pool = 'attention'

    def __init__(self, visual: ModifiedResNet) -> None:
        super().__init__(visual)
        self.layers = nn.Sequential(visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        self._positions = ResampledPositions()

    @staticmethod
    def supports(visual: object) -> bool:
        """Whether this class reads an image tower."""
        return isinstance(visual, ModifiedResNet)

    def locations(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Pass images through the tower. See `ImageTower.locations`."""
        check_stride(images, STRIDE)
        features = self.layers(self.visual.stem(images))  # [B, C, h, w]
        grid = tuple(features.shape[-2:])
        locations = features.flatten(2).mT
        return locations, grid, self._pooled(locations, self._positions_of(grid))

    def project(self, locations: Tensor) -> Tensor:
        """Project locations to the joint space. See `ImageTower.project`."""
        return self.visual.attnpool.c_proj(self.visual.attnpool.v_proj(locations))

    def pool_each(self, locations: Tensor) -> Tensor:
        """Pool each location without positions. See `ImageTower.pool_each`."""
        return self._pooled(locations[:, None], locations.new_zeros(2, locations.shape[1]))

    def _pooled(self, locations: Tensor, positions: Tensor) -> Tensor:
        pool = self.visual.attnpool
        x = torch.cat((locations.mean(1, keepdim=True), locations), 1) + positions.to(locations.dtype)
        projections = (pool.q_proj(x[:, :1]), pool.k_proj(x), pool.v_proj(x))
        q, k, v = (part.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for part in projections)
        return pool.c_proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))[:, 0]

    def _positions_of(self, grid: tuple[int, int]) -> Tensor:
        positions = self.visual.attnpool.positional_embedding
        side = round((len(positions) - 1) ** 0.5)
        return self._positions(positions[None], (side, side), grid)[0]


class TimmCNN(ImageTower):
    """A trunk of timm with a feature map, average pooling and a head.

    Args:
        visual: image tower that `supports` accepts.
    """

    visual: TimmModel
    pool = 'mean'

    @torch.no_grad()
    def __init__(self, visual: TimmModel) -> None:
        super().__init__(visual)
        self.trunk: Any = visual.trunk
        # A trunk without `feature_info` is assumed to cover its images.
        self.stride = max((info['reduction'] for info in getattr(self.trunk, 'feature_info', ())), default=1)
        parameter = next(visual.parameters())
        generator = torch.Generator().manual_seed(0)
        sample = torch.randn(4, self.trunk.num_features, generator=generator).to(parameter)
        projected = self.project(sample)
        difference = self.project(sample.mean(0)) - projected.mean(0)
        # Projection and mean commute only for a linear head, without a norm or an activation after the pool.
        rounding = max(1e-3, 8 * torch.finfo(projected.dtype).eps)
        self.averages = bool(difference.norm() <= rounding * projected.norm(dim=-1).mean())

    @staticmethod
    def supports(visual: object) -> bool:
        """Whether this class reads an image tower."""
        return isinstance(visual, TimmModel) and _unreadable_part(visual) is None

    def locations(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Pass images through the tower. See `ImageTower.locations`."""
        check_stride(images, self.stride)
        features = self.trunk.forward_features(images)  # [B, C, h, w]
        locations = features.flatten(2).mT
        return locations, tuple(features.shape[-2:]), self.project(locations.mean(1))

    def project(self, locations: Tensor) -> Tensor:
        """Project locations to the joint space. See `ImageTower.project`."""
        maps = locations.reshape(-1, locations.shape[-1], 1, 1)
        return self.visual.head(self.trunk.forward_head(maps)).reshape(*locations.shape[:-1], -1)

    def pool_each(self, locations: Tensor) -> Tensor:
        """Pool each location by the tower's own pool. See `ImageTower.pool_each`."""
        maps = locations[:, :, None, None].expand(-1, -1, 2, 2)
        return self.visual.head(self.trunk.forward_head(maps))


def _unreadable_part(visual: TimmModel) -> str | None:
    """Describe the part of a tower that `TimmCNN` cannot read. None if there is no such part."""
    trunk: Any = visual.trunk
    name = type(trunk).__name__
    holders: list[Any] = [trunk, getattr(trunk, 'head', None)]
    pools: list[Any] = [getattr(holder, 'global_pool', None) for holder in holders]
    pool_types = [pool.pool_type for pool in pools if hasattr(pool, 'pool_type')]
    if not pool_types or not hasattr(trunk, 'forward_head'):
        return f'a {name} without a `global_pool` layer over a map of features'
    if pool_types != ['avg']:
        return f'a {name} whose `global_pool` is {pool_types[0]!r}'
    if 'pool' in dict(visual.head.named_children()):
        return f'a {name} with a pool of its own after the trunk'
    if getattr(trunk, 'output_fmt', 'NCHW') != 'NCHW':
        return f'a {name} whose features are {trunk.output_fmt}'
    return None
