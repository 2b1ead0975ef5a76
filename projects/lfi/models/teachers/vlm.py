"""Interface of a VLM for teachers, with open_clip's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Tokenizer = Callable[[list[str]], Any]
"""Maps n texts to the input of `VLM.encode_text`: token ids (n, length), or the texts themselves."""


class VLM(Protocol):
    """A model that embeds images and texts in one space.

    Attributes:
        visual: image tower, a module with open_clip's `preprocess_cfg` (size, mean and std).
        logit_scale: scalar, logarithm of the factor that cosines are multiplied by.
    """

    visual: Any
    logit_scale: Tensor

    def encode_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W), normalised as the tower expects, as (B, E)."""

    def encode_text(self, ids: Any) -> Tensor:
        """Embed the tokenizer's output for n texts, as (n, E)."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over all parameters."""

    def to(self, device: torch.device | str) -> Any:
        """Move the model to a device."""
