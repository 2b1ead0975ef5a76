"""What every extractor shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.concepts import ConceptBank

from ..vlm import VLM, Tokenizer


class Extractor(ABC):
    """A way to read interaction maps from a VLM.

    Most extractors read the image tower alone. One that needs more of the model overrides `from_vlm` and
    keeps what it needs; the rest of the model is freed.

    Args:
        visual: the image tower, in eval mode.

    Raises:
        ValueError: if the model is of a kind the extractor cannot read; the message says which can.
    """

    directions: tuple[str, ...] = ('spatial', 'semantic')
    """The readings that are meaningful: 'spatial', over locations, and 'semantic', over concepts."""
    cosines = True
    """Whether the maps are cosines, which become logits by the model's own scale, or are logits already."""

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @classmethod
    def from_vlm(cls, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank, **options: Any) -> Extractor:
        """Build the extractor of a model, for the concepts that it will be asked about.

        Args:
            vlm: the model, in eval mode, on the CPU.
            tokenizer: the model's.
            bank: the concepts; `texts` of a call are their embeddings.
            **options: the rest of the extractor's config.

        Raises:
            ValueError: as the class says.
        """
        return cls(vlm.visual, **options)

    def to(self, device: torch.device) -> None:
        """Move all that the maps are read from to a device."""
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
            The maps (B, L, C, h, w) of L layers on the extractor's grid, and the images' embeddings (B, E)
            of unit length.
        """

    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """The images' embeddings alone. Override it where maps cost much more.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.
            texts: (C, E), unit embeddings.

        Returns:
            (B, E) of unit length, the same as those of a call.
        """
        return self(images, texts[:1])[1]

    def whole_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size in pixels to give images that were to have `size`, so that the maps cover all of them."""
        tower = getattr(self, 'tower', None)
        return size if tower is None else tower.whole_size(size)

    @torch.no_grad()
    def check_size(self, size: tuple[int, int], texts: Tensor) -> None:
        """Check that the model takes images of a size, by reading a blank one.

        Args:
            size: height and width in pixels.
            texts: (C, E), unit embeddings.

        Raises:
            ValueError: if it does not.
        """
        try:
            self.pooled(torch.zeros(1, 3, *size), texts)
        except RuntimeError as error:
            raise ValueError(f'the teacher takes no images of input_size={size}: {error}') from error


# A part of a map's mean: less is rounding.
LEAST_ATTENTION = 1e-6


def log_attention(attention: Tensor) -> Tensor:
    """The logarithm of attention to locations, (..., h, w).

    A weight that half precision has rounded to 0 counts as a millionth of its map's mean. Its logarithm
    would else be the map's spread, by which the loss and the cache scale all others.
    """
    least = LEAST_ATTENTION * attention.mean((-2, -1), keepdim=True)
    return torch.maximum(attention, least).clamp_min(torch.finfo(attention.dtype).tiny).log()


class DenseExtractor(Extractor):
    """Features of each location in the joint space, times the texts: one pass, whatever the concepts."""

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts; arguments and result as of `Extractor`."""
        locations, pooled = self.features(images)
        maps = (texts.to(locations) @ locations.flatten(-2)).unflatten(-1, locations.shape[-2:])
        return maps, F.normalize(pooled, dim=-1)

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.

        Returns:
            The locations in the joint space (B, L, E, h, w), scaled so that their products with unit texts
            are the maps, and the images' embeddings (B, E), of any length.
        """


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
