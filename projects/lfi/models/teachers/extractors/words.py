"""Base of the extractors that read the attention of a concept's own words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.concepts import ConceptBank

from .base import Extractor


class WordAttentionExtractor(Extractor):
    """log A_l: in layer l of a text model that sees the image, from a concept's words to the places.

    A_l is the mean over heads, over the tokens of the concept's own words in a prompt, and over the
    templates. Each layer gives a map, whose softmax over the positions is that attention, without what
    went to the class token. It is normalised over positions already, so concepts cannot be compared.

    Args:
        vlm: the model.
        tokenizer: from n texts to their token ids (n, length), padded by 0.
        bank: the concepts.

    Raises:
        ValueError: if a template leaves no room for the concept.
    """

    directions = ('positions',)
    cosines = False

    def __init__(self, vlm: nn.Module, tokenizer: Callable[[list[str]], Tensor], bank: ConceptBank) -> None:
        super().__init__(vlm.visual)
        self.n_templates = len(bank.templates)
        prompts = [(name, template) for name in bank.names for template in bank.templates]
        ids = tokenizer([template.replace('{}', name) for name, template in prompts])
        spans = [concept_span(row, template, tokenizer) for row, (_, template) in zip(ids, prompts)]
        self.ids = ids[:, : 1 + int(ids.any(0).nonzero().max())]  # [P, n]
        place = torch.arange(self.ids.shape[1])
        words = torch.stack([(start <= place) & (place < end) for start, end in spans]).float()
        self.words = words / words.sum(1, keepdim=True)  # [P, n]

    @classmethod
    def from_vlm(
        cls, vlm: nn.Module, tokenizer: Callable[[list[str]], Tensor], bank: ConceptBank, **options: object
    ) -> WordAttentionExtractor:
        return cls(vlm, tokenizer, bank, **options)

    def __call__(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        seen, grid, pooled = self.see(images)
        attention = torch.stack([torch.stack(list(self.read(*image))) for image in zip(*seen)])
        attention = attention.float().unflatten(2, (-1, self.n_templates)).mean(3)  # [B, L, C, N]
        maps = attention.clamp_min(torch.finfo(attention.dtype).tiny).log()
        return maps.unflatten(-1, grid), F.normalize(pooled, dim=-1)

    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """The images' embeddings (B, E) of unit length; the text model does not run."""
        return F.normalize(self.see(images)[2], dim=-1)

    def of_words(self, attention: Tensor) -> Tensor:
        """From all prompts' tokens' attention (P * n, K) to that of the concepts' words (P, K)."""
        return (self.words[:, :, None] * attention.unflatten(0, self.words.shape)).sum(1)

    @abstractmethod
    def see(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, int], Tensor]:
        """What `read` takes, a batch of each, the grid (h, w), and the images' embeddings (B, E)."""

    @abstractmethod
    def read(self, *image: Tensor) -> Iterator[Tensor]:
        """Layer by layer, the attention (P, N) of the concepts' words to the places of one image."""


def concept_span(ids: Tensor, template: str, tokenizer: Callable[[list[str]], Tensor]) -> tuple[int, int]:
    """Where the concept's own tokens start and end in a prompt: between what the template alone gives.

    Raises:
        ValueError: if nothing is between.
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
