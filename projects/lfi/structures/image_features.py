"""What a model makes of a batch of images without being asked about a concept."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """A model's features, as distillation without interactions compares them.

    Args:
        pooled: (B, C), one vector an image.
        scores: (B, K), the logits of the classes.
        places: (B, C, H, W), the last feature map.
    """

    pooled: Tensor
    scores: Tensor
    places: Tensor
