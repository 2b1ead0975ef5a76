"""What a teacher needs of a VLM, under the names of open_clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Tokenizer = Callable[[list[str]], Any]
"""From n texts to what the model's `encode_text` takes: token ids (n, length), or the texts themselves."""


class VLM(Protocol):
    """A model that embeds images and texts in one space.

    Attributes:
        visual: the image tower, a module with open_clip's `preprocess_cfg` (size, mean and std).
        logit_scale: the logarithm of what cosines are multiplied with, a scalar.
    """

    visual: Any
    logit_scale: Tensor

    def encode_image(self, images: Tensor) -> Tensor:
        """From images (B, 3, H, W), normalised as the tower expects, to embeddings (B, E)."""

    def encode_text(self, ids: Any) -> Tensor:
        """From what the tokenizer makes of n texts to embeddings (n, E)."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters."""

    def to(self, device: torch.device | str) -> Any:
        """Move to a device."""
