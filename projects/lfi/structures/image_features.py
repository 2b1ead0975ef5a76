"""Image features: embeddings and class scores of a batch, for distillation without interactions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .interaction_maps import InteractionMaps
from .views import full_window, separable_interpolation_weights

LENGTH_TOLERANCE = 1e-3
"""Largest deviation of the mean location's length from 1 in a cache: rounding causes less."""


@dataclass(frozen=True)
class ImageFeatures:
    """Features of a batch of images.

    Args:
        pooled: (B, C), embedding of each image.
        scores: (B, K), class logits.
        locations: (B, C, H, W), last feature map.
    """

    pooled: Tensor
    scores: Tensor
    locations: Tensor

    def locations_on(self, grid: tuple[int, int]) -> Tensor:
        """Resize the locations to a grid (H, W) as `InteractionMaps.resize` does: (B, C, H, W), float32."""
        locations = self.locations.float()
        cells = locations.shape[-2], locations.shape[-1]
        if tuple(grid) == cells:
            return locations
        whole = torch.eye(2, 3, device=locations.device)[None]
        rows, columns, _ = separable_interpolation_weights(whole, cells, grid, full_window(whole))
        with torch.autocast(locations.device.type, enabled=False):
            return rows[:, None] @ locations @ columns.mT[:, None]

    def as_maps(self, scale: float) -> InteractionMaps:
        """Convert the locations to maps that can be cached and warped, one concept for each feature channel.

        Args:
            scale: scale of the scores. It is stored as the length of the maps' mean vector.

        Raises:
            ValueError: if the pooled vector is not the mean of the locations, or this mean's length is not 1.
        """
        mean = self.locations.mean((-2, -1))  # [B, C]
        cosine = F.cosine_similarity(mean, self.pooled, dim=1).min().item()
        if cosine < 0.999:
            raise ValueError(
                "the features cannot be cached: the mean of an image's locations is not its embedding "
                f"(cosine {cosine:.3f}). Use extractor 'dense', or train with teacher.cache=None"
            )
        b, c, h, w = self.locations.shape
        length = mean.norm(dim=1)  # [B]
        furthest = length[(length - 1).abs().argmax()].item()
        if abs(furthest - 1) > LENGTH_TOLERANCE:
            raise ValueError(
                "the features cannot be cached: the mean of an image's locations has the length "
                f'{furthest:.3f}, and a cache gives all means the length 1. Use a CNN with extractor '
                "'dense', or train with teacher.cache=None"
            )
        return InteractionMaps(
            logits=(scale / length[:, None, None, None] * self.locations)[:, None],
            presence=mean.new_ones(b, c),
            valid=torch.ones(b, h, w, dtype=torch.bool, device=mean.device),
            directions=('spatial',),
        )

    @classmethod
    def of_view(cls, maps: InteractionMaps, scale: Tensor, texts: Tensor) -> ImageFeatures:
        """Restore the features of a view from maps of `as_maps` that were warped into it.

        The mean over the locations of a whole image has length 1, as the online teacher's has. The mean over
        a crop has another length, and is not normalised.

        Args:
            maps: maps of the view.
            scale: (B,), scale of the scores and length of an image's mean location.
            texts: (K, C), unit embeddings of the classes.
        """
        locations = maps.logits[:, 0]  # [B, C, H, W]
        valid = maps.valid[:, None].to(locations)
        mean = (locations * valid).sum((-2, -1)) / valid.sum((-2, -1)).clamp_min(1)
        pooled = F.normalize(mean, dim=1)
        # The online teacher computes its scores in float32 too.
        with torch.autocast(pooled.device.type, enabled=False):
            scores = scale[:, None] * pooled @ texts.T
        return cls(pooled, scores, locations / scale[:, None, None, None])
