"""timm's CNNs as open_clip's image towers: ConvNeXt, MobileCLIP's FastViT, EfficientNet."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.timm_model import TimmModel
from torch import Tensor

from .base import ImageTower, refuse_part_of_stride


class TimmCNN(ImageTower):
    """A trunk of timm that gives a map of features, whose average goes through a head.

    Args:
        visual: the tower, one that `reads` accepts.
    """

    visual: TimmModel
    pool = 'mean'

    @torch.no_grad()
    def __init__(self, visual: TimmModel) -> None:
        super().__init__(visual)
        self.trunk: Any = visual.trunk
        # A trunk without timm's list of features is taken to cover its images.
        self.stride = max((info['reduction'] for info in getattr(self.trunk, 'feature_info', ())), default=1)
        parameter = next(visual.parameters())
        generator = torch.Generator().manual_seed(0)
        sample = torch.randn(4, self.trunk.num_features, generator=generator).to(parameter)
        each = self.project(sample)
        of_mean, mean = self.project(sample.mean(0)), each.mean(0)
        # A linear head alone; a norm or an activation after the pool is none.
        rounding = max(1e-3, 8 * torch.finfo(each.dtype).eps)
        self.averages = bool((of_mean - mean).norm() <= rounding * each.norm(dim=-1).mean())

    @staticmethod
    def reads(visual: object) -> bool:
        """Whether a tower is of this kind."""
        return isinstance(visual, TimmModel) and _fault(visual) is None

    def locations(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """Pass images through the tower; arguments and result as of `ImageTower`."""
        refuse_part_of_stride(images, self.stride)
        features = self.trunk.forward_features(images)  # [B, C, h, w]
        locations = features.flatten(2).mT
        return locations, tuple(features.shape[-2:]), self.project(locations.mean(1))

    def project(self, locations: Tensor) -> Tensor:
        """Bring locations to the joint space; as of `ImageTower`."""
        each = locations.reshape(-1, locations.shape[-1], 1, 1)
        return self.visual.head(self.trunk.forward_head(each)).reshape(*locations.shape[:-1], -1)

    def alone(self, locations: Tensor) -> Tensor:
        """By the tower's own pool; as of `ImageTower`."""
        maps = locations[:, :, None, None].expand(-1, -1, 2, 2)
        return self.visual.head(self.trunk.forward_head(maps))


def _fault(visual: TimmModel) -> str | None:
    """What a tower has in place of a map of features and average pooling; None if it has both."""
    trunk: Any = visual.trunk
    name = type(trunk).__name__
    holders: list[Any] = [trunk, getattr(trunk, 'head', None)]
    pools: list[Any] = [getattr(holder, 'global_pool', None) for holder in holders]
    kinds = [pool.pool_type for pool in pools if hasattr(pool, 'pool_type')]
    if not kinds or not hasattr(trunk, 'forward_head'):
        return f'a {name} without a `global_pool` layer over a map of features'
    if kinds != ['avg']:
        return f'a {name} whose `global_pool` is {kinds[0]!r}'
    if 'pool' in dict(visual.head.named_children()):
        return f'a {name} with a pool of its own after the trunk'
    if getattr(trunk, 'output_fmt', 'NCHW') != 'NCHW':
        return f'a {name} whose features are {trunk.output_fmt}'
    return None
