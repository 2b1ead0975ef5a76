"""Base of the extractors whose model judges each concept by itself."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from .base import Extractor


class JudgingExtractor(Extractor):
    """Maps, and whether each concept is there, as the model says; its embeddings compare nothing."""

    @abstractmethod
    def judge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts, and their presence.

        Args:
            images: (B, 3, H, W), normalised as the model expects.

        Returns:
            The maps (B, L, C, h, w), logits, and presence (B, C) in [0, 1], of each concept by itself.
        """

    @abstractmethod
    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """The images' embeddings alone; as `Extractor` says."""

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts; arguments and result as of `Extractor`."""
        return self.judge(images)[0], self.pooled(images, texts)
