"""Locations from the `encode_locations` of a custom dual encoder."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.registry import EXTRACTORS

from ..loading.dual_encoder import DualEncoderVisual, DualEncoderVLM
from ..vlm import VLM, Tokenizer
from .base import DenseExtractor


@EXTRACTORS.register_module(name='own-locations')
class OwnLocationsExtractor(DenseExtractor):
    """Maps of cosines between texts and the model's own locations, from `encode_locations`.

    Args:
        visual: image side of a `DualEncoder`.

    Raises:
        ValueError: if the model is not a custom dual encoder.
    """

    visual: DualEncoderVisual

    @classmethod
    def from_vlm(
        cls, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank, **options: Any
    ) -> OwnLocationsExtractor:
        """Build the extractor of a model. See `Extractor.from_vlm`."""
        if not isinstance(vlm, DualEncoderVLM):
            raise ValueError(
                "extractor 'own-locations' reads a dual encoder of your own (model=dict(type=...)), not this "
                f"model's {type(vlm).__name__}: use 'auto'"
            )
        return cls(vlm.visual, **options)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the features of images. See `DenseExtractor.features`."""
        locations, pooled = self.visual.model.encode_locations(images)
        if locations.ndim != 4 or pooled.ndim != 2 or locations.shape[:2] != pooled.shape:
            raise ValueError(
                f'{type(self.visual.model).__name__}.encode_locations must give (B, E, h, w) and (B, E), not '
                f'{tuple(locations.shape)} and {tuple(pooled.shape)}'
            )
        return F.normalize(locations, dim=1)[:, None], pooled
