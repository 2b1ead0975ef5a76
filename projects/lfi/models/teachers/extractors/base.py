"""Base classes of extractors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.concepts import ConceptBank

from ..vlm import VLM, Tokenizer


class Extractor(ABC):
    """Base class of extractors, which read interaction maps of a VLM.

    Most extractors read only the image tower. An extractor that needs other parts of the model overrides
    `from_vlm` and stores these parts. All other parts are freed.

    Args:
        visual: image tower, in eval mode.

    Raises:
        ValueError: if the extractor cannot read the model; the message names extractors that can.
    """

    directions: tuple[str, ...] = ('spatial', 'semantic')
    """Directions in which the maps can be read: 'spatial', over locations, and 'semantic', over concepts."""
    gives_cosines = True
    """Whether the maps are cosines, which the teacher scales to logits. Otherwise the maps are logits."""

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @classmethod
    def from_vlm(cls, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank, **options: Any) -> Extractor:
        """Build the extractor of a model for the concepts of a bank.

        Args:
            vlm: model in eval mode, on the CPU.
            tokenizer: tokenizer of the model.
            bank: concepts to ask about. `__call__` gets their embeddings as `texts`.
            **options: other arguments of the class.

        Raises:
            ValueError: if the extractor cannot read the model.
        """
        return cls(vlm.visual, **options)

    def to(self, device: torch.device) -> None:
        """Move all tensors and modules to a device."""
        for name, value in list(vars(self).items()):
            if isinstance(value, (Tensor, nn.Module)):
                setattr(self, name, value.to(device))

    @abstractmethod
    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.
            texts: (C, E), unit embeddings.

        Returns:
            Maps (B, L, C, h, w) of L layers on the extractor's grid, and embeddings of the images (B, E), of
            unit length.
        """

    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """Compute the embeddings of images. Override this method if maps cost much more.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.
            texts: (C, E), unit embeddings.

        Returns:
            Embeddings (B, E) of unit length, equal to those that `__call__` returns.
        """
        return self(images, texts[:1])[1]

    def whole_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Adjust an input size in pixels, so that the maps cover the complete image."""
        tower = getattr(self, 'tower', None)
        return size if tower is None else tower.whole_size(size)

    @torch.no_grad()
    def check_size(self, size: tuple[int, int], texts: Tensor) -> None:
        """Check that the model accepts images of a size, by a forward pass of a blank image.

        Args:
            size: height and width in pixels.
            texts: (C, E), unit embeddings.

        Raises:
            ValueError: if the forward pass fails.
        """
        try:
            self.pooled(torch.zeros(1, 3, *size), texts)
        except RuntimeError as error:
            raise ValueError(f'the teacher takes no images of input_size={size}: {error}') from error


# Smallest weight relative to a map's mean: smaller weights are rounding errors.
MIN_ATTENTION = 1e-6


def log_attention(attention: Tensor) -> Tensor:
    """Logarithm of attention to locations, (..., h, w).

    Weights are clamped to a millionth of their map's mean. Otherwise a weight that half precision rounded to
    0 would dominate the map's spread, by which the loss and the cache scale the map.
    """
    lower_bound = MIN_ATTENTION * attention.mean((-2, -1), keepdim=True)
    return torch.maximum(attention, lower_bound).clamp_min(torch.finfo(attention.dtype).tiny).log()


class DenseExtractor(Extractor):
    """Base class of extractors whose maps are products of texts with features of locations.

    These extractors need one forward pass, regardless of the number of concepts.
    """

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts. See `Extractor.__call__`."""
        locations, pooled = self.features(images)
        maps = (texts.to(locations) @ locations.flatten(-2)).unflatten(-1, locations.shape[-2:])
        return maps, F.normalize(pooled, dim=-1)

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.

        Returns:
            Locations in the joint space (B, L, E, h, w), scaled so that their products with unit texts are
            the maps, and embeddings of the images (B, E), of any length.
        """


class PresenceExtractor(Extractor):
    """Base class of extractors whose presence is an answer of the model, not computed from embeddings."""

    @abstractmethod
    def maps_and_presence(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps and the presence of all concepts.

        Args:
            images: (B, 3, H, W), normalised as the model expects.

        Returns:
            Maps (B, L, C, h, w), logits, and presence (B, C) in [0, 1], independent for each concept.
        """

    @abstractmethod
    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """Compute the embeddings of images. See `Extractor.pooled`."""

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts. See `Extractor.__call__`."""
        return self.maps_and_presence(images)[0], self.pooled(images, texts)
