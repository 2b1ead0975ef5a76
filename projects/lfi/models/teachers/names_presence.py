"""Presence of a text that does not depend on the other texts: its odds against names of ImageNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lfi.concepts import ConceptBank, ImageNetNames

# Every tenth of ImageNet's 998 different names.
STEP = 10
# More prompts of each name would take minutes on a CPU.
NUM_TEMPLATES = 7
# Logistic fit on questions of four texts, of which about one is shown (`python -m research presence`).
SLOPE, OFFSET = 1.18, 3.27


class NamesPresence:
    """Presence of a text from its logit and those of 100 names of ImageNet.

    Presence is sigmoid(slope * (logit - log-sum-exp of the names' logits) + offset). Slope and offset are
    fitted with the teacher `lit-lite0` on photos of COCO and Tiny-ImageNet, asked about four texts, of which
    about one is there: of the texts with a presence of 0.2, one in five is.

    Args:
        encode_texts: text encoder, from n texts to embeddings (n, E).
        templates: prompts with {} for the name. At most the first 7 are used.
    """

    def __init__(self, encode_texts: Callable[[list[str]], Tensor], templates: Sequence[str]) -> None:
        names = list(dict.fromkeys(ImageNetNames.class_names()))[::STEP]
        self.embeddings = ConceptBank.encode(names, templates[:NUM_TEMPLATES], encode_texts).embeddings

    def to(self, device: torch.device) -> None:
        """Move the embeddings of the names to a device."""
        self.embeddings = self.embeddings.to(device)

    def __call__(self, logits: Tensor, scaled_images: Tensor) -> Tensor:
        """Return presence (B, C).

        Args:
            logits: (B, C), logits of the texts.
            scaled_images: (B, E), unit embeddings of the images, times the scale of the logits.
        """
        names = (scaled_images @ self.embeddings.T).logsumexp(-1, keepdim=True)
        return (SLOPE * (logits - names) + OFFSET).sigmoid()
