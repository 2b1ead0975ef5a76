"""What every extractor shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.concepts import ConceptBank


class Extractor(ABC):
    """A way to take interaction maps out of a VLM.

    Most read the image tower alone. One that needs more of the model overrides `from_vlm` and keeps what
    it needs; the rest of the model is freed.

    Args:
        visual: the image tower, in eval mode.

    Raises:
        ValueError: if the model is of a kind the extractor cannot read; the message says which can.
    """

    directions: tuple[str, ...] = ('positions', 'concepts')
    cosines = True
    """Whether the maps are cosines, which become logits by the model's own scale, or are logits already."""

    def __init__(self, visual: nn.Module) -> None:
        self.visual = visual

    @classmethod
    def from_vlm(
        cls, vlm: nn.Module, tokenizer: Callable[[list[str]], Tensor], bank: ConceptBank, **options: object
    ) -> Extractor:
        """The extractor of a whole model and the concepts it will be asked about.

        Args:
            vlm: the model, in eval mode, on the CPU.
            tokenizer: from n texts to their token ids (n, length).
            bank: the concepts; `texts` of a call are their embeddings.
            **options: the rest of the extractor's config.
        """
        return cls(vlm.visual, **options)

    def to(self, device: torch.device) -> None:
        """Move all that the maps are read from."""
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
            The maps (B, L, C, h, w) and the images' embeddings (B, E) of unit length.
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


class DenseExtractor(Extractor):
    """Features of each place in the joint space, times the texts: one pass, whatever the concepts."""

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        places, pooled = self.features(images)
        maps = (texts.to(places) @ places.flatten(-2)).unflatten(-1, places.shape[-2:])
        return maps, F.normalize(pooled, dim=-1)

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the joint space (B, L, E, h, w), scaled as cosines need, and pooled (B, E)."""
