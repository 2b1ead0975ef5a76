"""Base of the extractors that read the attention of a concept's own words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.concepts import ConceptBank

from ..vlm import VLM, Tokenizer
from .base import Extractor, log_attention


class WordAttentionExtractor(Extractor):
    """Base of maps log A_l: attention of a concept's words to locations, in layer l of a text model.

    The text model sees the image. A_l is the mean over heads, over the tokens of the concept's own words in
    a prompt, and over the templates. Each layer gives a map, whose softmax over locations is that attention,
    without what went to the class token. It is normalised over locations already, so that concepts cannot be
    compared.

    Args:
        vlm: the model, in eval mode.
        tokenizer: the model's, which pads by 0.
        bank: the concepts.

    Raises:
        ValueError: if a template leaves no room for the concept.
    """

    directions = ('spatial',)
    cosines = False

    def __init__(self, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank) -> None:
        super().__init__(vlm.visual)
        self.n_templates = len(bank.templates)
        prompts = [(name, template) for name in bank.names for template in bank.templates]
        ids = tokenizer([template.replace('{}', name) for name, template in prompts])
        spans = [concept_span(row, template, tokenizer) for row, (_, template) in zip(ids, prompts)]
        self.ids = ids[:, : 1 + int(ids.any(0).nonzero().max())]  # [P, n]
        index = torch.arange(self.ids.shape[1])
        words = torch.stack([(start <= index) & (index < end) for start, end in spans]).float()
        self.words = words / words.sum(1, keepdim=True)  # [P, n]

    @classmethod
    def from_vlm(
        cls, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank, **options: Any
    ) -> WordAttentionExtractor:
        """Build the extractor of a model; arguments as of `Extractor`."""
        return cls(vlm, tokenizer, bank, **options)

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts; arguments and result as of `Extractor`."""
        seen, grid, pooled = self.see(images)
        attention = torch.stack([torch.stack(list(self.read(*image))) for image in zip(*seen)])
        attention = attention.float().unflatten(2, (-1, self.n_templates)).mean(3)  # [B, L, C, N]
        return log_attention(attention.unflatten(-1, grid)), F.normalize(pooled, dim=-1)

    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """The images' embeddings (B, E) of unit length; the text model does not run."""
        return F.normalize(self.see(images)[2], dim=-1)

    def of_words(self, attention: Tensor) -> Tensor:
        """Bring the attention of all prompts' tokens (P * n, K) to that of the concepts' words (P, K)."""
        return (self.words[:, :, None] * attention.unflatten(0, self.words.shape)).sum(1)

    @abstractmethod
    def see(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, int], Tensor]:
        """Pass images through the image tower.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.

        Returns:
            What `read` takes of an image, each for the batch; the grid (h, w); and the images' embeddings
            (B, E), of any length.
        """

    @abstractmethod
    def read(self, *image: Tensor) -> Iterator[Tensor]:
        """Read the attention (P, N) of the concepts' words to the N locations of one image, by layer.

        Args:
            *image: what `see` gives of it.
        """


def concept_span(ids: Tensor, template: str, tokenizer: Tokenizer) -> tuple[int, int]:
    """Find where the concept's own tokens start and end in a prompt: between what the template alone gives.

    Args:
        ids: (length,), the prompt's token ids.
        template: of the prompt.
        tokenizer: the model's.

    Returns:
        The first index of the concept's tokens, and the one after the last.

    Raises:
        ValueError: if the template's tokens leave none.
    """
    rows = (ids, *tokenizer([template.split('{}')[0], template.split('{}')[-1]]))
    prompt, before, after = (row[: 1 + int(row.nonzero().max())].tolist() for row in rows)
    start, tail = _n_equal(prompt, before), _n_equal(prompt[::-1], after[::-1])
    if start + tail >= len(prompt):
        raise ValueError(f"template {template!r} leaves the concept none of the teacher's {len(ids)} tokens")
    return start, len(prompt) - tail


def _n_equal(first: list[int], second: list[int]) -> int:
    """How many entries at the front are equal."""
    return next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
