"""What every extractor shares."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn


class Extractor(ABC):
    """A way to take interaction maps out of a VLM's image tower.

    Args:
        visual: open_clip's image tower, in eval mode.

    Raises:
        ValueError: if the tower is of a kind the extractor cannot read; the message says which can.
    """

    directions: tuple[str, ...] = ('positions', 'concepts')

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @abstractmethod
    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.
            texts: (C, E), unit embeddings.

        Returns:
            The maps (B, L, C, h, w) and the images' embeddings (B, E) of unit length.
        """


class DenseExtractor(Extractor):
    """Features of each place in the joint space, times the texts: one pass, whatever the concepts."""

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        places, pooled = self.features(images)
        maps = (texts.to(places) @ places.flatten(-2)).unflatten(-1, places.shape[-2:])
        return maps, F.normalize(pooled, dim=-1)

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the joint space (B, L, E, h, w), scaled as cosines need, and pooled (B, E)."""
