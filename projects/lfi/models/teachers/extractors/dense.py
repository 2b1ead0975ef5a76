"""Products of texts with the last layer's locations, each projected to the joint space."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import EXTRACTORS

from ..towers import ImageTower, tower_of
from .base import DenseExtractor


@EXTRACTORS.register_module(name='dense')
class LocationsExtractor(DenseExtractor):
    """Maps of the last layer's locations, each passed through pool and head like a complete image.

    If the tower averages its locations and only a linear head follows (most CNNs), a map is
    z(location) . t / ||mean z||. Its mean over locations is exactly the image's cosine with the text, as in
    class activation maps (Zhou et al., CVPR 2016). If a norm or an MLP follows the average (ConvNeXt,
    ViTamin, CLIPA), the embedding is not a mean of projected locations, and maps are cosines. Maps are also
    cosines for an attention pool, where this extractor equals 'maskclip'. In a ViT with a class token the
    last block's patches localise badly: the other extractors change the last block. The cost is about one
    plain forward pass, regardless of the number of concepts.

    Args:
        visual: image tower, in eval mode.

    Raises:
        ValueError: if no class of `towers` reads the image tower.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual)
        self.tower = tower_of(visual)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images. See `DenseExtractor.features`."""
        return features_of_locations(self.tower, images)


def features_of_locations(tower: ImageTower, images: Tensor) -> tuple[Tensor, Tensor]:
    """Read the last layer's locations. See `DenseExtractor.features`."""
    locations, grid, pooled = tower.locations(images)
    locations = tower.project(locations)  # [B, N, E]
    if tower.averages:
        locations = locations / pooled.norm(dim=-1)[:, None, None].clamp_min(1e-6)
    else:
        locations = F.normalize(locations, dim=-1)
    return locations.mT.unflatten(-1, grid)[:, None], pooled
