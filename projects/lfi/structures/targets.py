"""A teacher's targets for the views of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .image_features import ImageFeatures
from .interaction_maps import InteractionMaps

TEACHER_OUTPUTS = ('maps', 'features', 'class_scores')
"""The fields of `Targets`, any of which a supervision part may need."""


@dataclass(frozen=True)
class Targets:
    """A teacher's targets for the views of a batch, on the student's grid.

    A field is None if no supervision part needs it.

    Args:
        maps: interaction maps with the presence of each concept.
        features: embeddings of the images and of their locations.
        class_scores: (B, C), zero-shot logits of all texts of the bank. A student uses those of its classes.
    """

    maps: InteractionMaps | None = None
    features: ImageFeatures | None = None
    class_scores: Tensor | None = None

    @property
    def grid(self) -> tuple[int, int] | None:
        """Height and width of the grid of maps and features; None if there are neither maps nor features."""
        if self.maps is not None:
            return self.maps.grid
        if self.features is None:
            return None
        return self.features.locations.shape[-2], self.features.locations.shape[-1]
