"""The last layer's locations, each through the head, times the texts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from ..towers import ImageTower, tower_of
from .base import DenseExtractor


@EXTRACTORS.register_module(name='dense')
class LocationsExtractor(DenseExtractor):
    """Each location of the last layer goes through pool and head as if it were the whole image.

    Where the tower averages its locations and nothing but a linear head follows (most CNNs), a map is
    z(location) . t / ||mean z||, whose mean over the locations is exactly the image's cosine with the text,
    as in class activation maps (Zhou et al., CVPR 2016). Where a norm or an MLP follows the average
    (ConvNeXt, ViTamin, CLIPA), the embedding is no mean of what locations give, and maps are cosines, as
    they are of an attention pool, where this is 'maskclip'. A ViT with a class token gives its last block's
    patches, which are known to localise badly: the other extractors change that block. It costs about one
    plain forward pass, whatever the number of concepts.

    Args:
        visual: the image tower, in eval mode.

    Raises:
        ValueError: if no kind of `towers` reads the image tower.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self.tower = tower_of(visual)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images; arguments and result as of `DenseExtractor`."""
        return features_of_locations(self.tower, images)


def features_of_locations(tower: ImageTower, images: Tensor) -> tuple[Tensor, Tensor]:
    """Read the last layer's locations; arguments and result as of `DenseExtractor.features`."""
    locations, grid, pooled = tower.locations(images)
    locations = tower.project(locations)  # [B, N, E]
    if tower.averages:
        locations = locations / pooled.norm(dim=-1)[:, None, None].clamp_min(1e-6)
    else:
        locations = F.normalize(locations, dim=-1)
    return locations.mT.unflatten(-1, grid)[:, None], pooled
