"""Base class of extractors that read the attention of a concept's words."""

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
    """Base class of extractors with maps log A_l: attention of a concept's words in layer l of a text model.

    The text model reads the image by cross-attention. A_l is the mean over heads, over the tokens of the
    concept's words in a prompt, and over the templates. Each layer gives a map. Its softmax over locations is
    the attention without the class token's share. Attention is normalised over locations, so that concepts
    cannot be compared.

    Args:
        vlm: model in eval mode.
        tokenizer: tokenizer of the model, with padding 0.
        bank: concepts to ask about.

    Raises:
        ValueError: if a template leaves no room for the concept.
    """

    directions = ('spatial',)
    gives_cosines = False

    def __init__(self, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank) -> None:
        super().__init__(vlm.visual)
        self.n_templates = len(bank.templates)
        prompts = [(name, template) for name in bank.names for template in bank.templates]
        ids = tokenizer([template.replace('{}', name) for name, template in prompts])
        spans = [concept_span(row, template, tokenizer) for row, (_, template) in zip(ids, prompts)]
        self.ids = ids[:, : 1 + int(ids.any(0).nonzero().max())]  # [P, n]
        index = torch.arange(self.ids.shape[1])
        is_word = torch.stack([(start <= index) & (index < end) for start, end in spans]).float()
        self.word_weights = is_word / is_word.sum(1, keepdim=True)  # [P, n]

    @classmethod
    def from_vlm(
        cls, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank, **options: Any
    ) -> WordAttentionExtractor:
        """Build the extractor of a model. See `Extractor.from_vlm`."""
        return cls(vlm, tokenizer, bank, **options)

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts. See `Extractor.__call__`."""
        batch, grid, pooled = self.encode(images)
        attention = torch.stack([torch.stack(list(self.read_attention(*image))) for image in zip(*batch)])
        attention = attention.float().unflatten(2, (-1, self.n_templates)).mean(3)  # [B, L, C, N]
        return log_attention(attention.unflatten(-1, grid)), F.normalize(pooled, dim=-1)

    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """Compute embeddings of images (B, E), of unit length, without the text model."""
        return F.normalize(self.encode(images)[2], dim=-1)

    def average_words(self, attention: Tensor) -> Tensor:
        """Average the attention of all prompts' tokens (P * n, K) over the concepts' words: (P, K)."""
        return (self.word_weights[:, :, None] * attention.unflatten(0, self.word_weights.shape)).sum(1)

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, int], Tensor]:
        """Pass images through the image tower.

        Args:
            images: (B, 3, H, W), normalised as the tower expects.

        Returns:
            Batched inputs of `read_attention`, the grid (h, w), and embeddings of the images (B, E), of any
            length.
        """

    @abstractmethod
    def read_attention(self, *encoded: Tensor) -> Iterator[Tensor]:
        """Read the attention (P, N) of the concepts' words to the N locations of one image, by layer.

        Args:
            *encoded: tensors that `encode` returns for this image.
        """


def concept_span(ids: Tensor, template: str, tokenizer: Tokenizer) -> tuple[int, int]:
    """Find the span of the concept's tokens in a prompt, between the tokens of the template.

    Args:
        ids: (length,), token ids of the prompt.
        template: template of the prompt.
        tokenizer: tokenizer of the model.

    Returns:
        Index of the concept's first token, and the index after its last token.

    Raises:
        ValueError: if the template leaves no token for the concept.
    """
    rows = (ids, *tokenizer([template.split('{}')[0], template.split('{}')[-1]]))
    prompt, before, after = (row[: 1 + int(row.nonzero().max())].tolist() for row in rows)
    start, tail = _n_equal(prompt, before), _n_equal(prompt[::-1], after[::-1])
    if start + tail >= len(prompt):
        raise ValueError(f'template {template!r} leaves the concept no room in the {len(ids)} tokens')
    return start, len(prompt) - tail


def _n_equal(first: list[int], second: list[int]) -> int:
    """Number of entries before the first difference of two lists."""
    return next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
