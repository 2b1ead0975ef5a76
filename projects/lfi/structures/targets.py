"""What a teacher says of the views of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .image_features import ImageFeatures
from .interaction_maps import InteractionMaps

NEEDS = ('maps', 'features', 'class_scores')
"""The fields of `Targets`, any of which a supervision part may need."""


@dataclass(frozen=True)
class Targets:
    """What a teacher says of the views of a batch, on the student's grid.

    Each field is None where no supervision part needs it.

    Args:
        maps: where each concept is, with its presence.
        features: the images' embeddings, and those of each location.
        class_scores: (B, C), logits of the bank's concepts for each image, of which a student takes those of
            its classes. Their softmax is the zero-shot answer.
    """

    maps: InteractionMaps | None = None
    features: ImageFeatures | None = None
    class_scores: Tensor | None = None

    @property
    def grid(self) -> tuple[int, int] | None:
        """Height and width of the grid of maps and features; None where there are neither."""
        if self.maps is not None:
            return self.maps.grid
        if self.features is None:
            return None
        return self.features.locations.shape[-2], self.features.locations.shape[-1]
