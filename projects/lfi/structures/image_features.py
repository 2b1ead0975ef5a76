"""What a model makes of a batch of images without being asked about a concept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .interaction_maps import InteractionMaps
from .views import full_window, read_upright_view


@dataclass(frozen=True)
class ImageFeatures:
    """A model's features, as distillation without interactions compares them.

    Args:
        pooled: (B, C), one vector an image.
        scores: (B, K), the logits of the classes.
        locations: (B, C, H, W), the last feature map.
    """

    pooled: Tensor
    scores: Tensor
    locations: Tensor

    def locations_on(self, grid: tuple[int, int]) -> Tensor:
        """The locations on another grid (H, W), float32, (B, C, H, W), by the filter of `InteractionMaps`."""
        locations = self.locations.float()
        cells = locations.shape[-2], locations.shape[-1]
        if tuple(grid) == cells:
            return locations
        whole = torch.eye(2, 3, device=locations.device)[None]
        down, across, _ = read_upright_view(whole, cells, grid, full_window(whole))
        with torch.autocast(locations.device.type, enabled=False):
            return down[:, None] @ locations @ across.mT[:, None]

    def as_maps(self, scale: float) -> InteractionMaps:
        """The locations as maps to be kept and warped: an axis of the feature space for each concept.

        Args:
            scale: of the scores; it becomes the length of the maps' mean vector, so that it is kept too.

        Raises:
            ValueError: if the mean of the locations is not the pooled vector, and so no view's is.
        """
        mean = self.locations.mean((-2, -1))  # [B, C]
        cosine = F.cosine_similarity(mean, self.pooled, dim=1).min().item()
        if cosine < 0.999:
            raise ValueError(
                "the features cannot be cached: the mean of an image's locations is not its embedding "
                f"(cosine {cosine:.3f}), as it is for extractor 'dense'. Train with teacher.cache=None"
            )
        b, c, h, w = self.locations.shape
        length = mean.norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        return InteractionMaps(
            logits=(scale / length * self.locations)[:, None],
            presence=mean.new_ones(b, c),
            valid=torch.ones(b, h, w, dtype=torch.bool, device=mean.device),
            directions=('spatial',),
        )

    @classmethod
    def of_view(cls, maps: InteractionMaps, scale: Tensor, texts: Tensor) -> ImageFeatures:
        """Features of a view, from the maps of `as_maps` that were warped into it.

        Args:
            maps: of the view.
            scale: (B,), of the scores.
            texts: (K, C), the classes' unit embeddings.
        """
        locations = maps.logits[:, 0]  # [B, C, H, W]
        valid = maps.valid[:, None].to(locations)
        mean = (locations * valid).sum((-2, -1)) / valid.sum((-2, -1)).clamp_min(1)
        pooled = F.normalize(mean, dim=1)
        # In half precision they would lose digits, and the online teacher's do not.
        with torch.autocast(pooled.device.type, enabled=False):
            scores = scale[:, None] * pooled @ texts.T
        return cls(pooled, scores, locations)
