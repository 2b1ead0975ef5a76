"""The concepts a VLM is asked about, and their text embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .names import check_unrepeated, plain_name
from .prompts import check_templates

BLOCK = 256
"""Texts that are embedded at once: those of ImageNet-21k together would take gigabytes."""


@dataclass(frozen=True)
class ConceptBank:
    """Concepts, their prompts and text embeddings, computed once.

    Args:
        names: the C concepts. The first ones are the task's classes, in the task's order; the last ones are
            the background.
        templates: the prompts, each with `{}` for the concept's name.
        embeddings: (C, E) float32, unit length: the normalised mean over the prompts' unit embeddings.
        num_background: how many of the names are background.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    embeddings: Tensor
    num_background: int = 0

    @classmethod
    def encode(
        cls,
        names: Sequence[str],
        templates: Sequence[str],
        encode_texts: Callable[[list[str]], Tensor],
        background: Sequence[str] = (),
    ) -> ConceptBank:
        """Embed the concepts.

        Args:
            names: the concepts.
            templates: the prompts.
            encode_texts: from n texts to their embeddings (n, E).
            background: texts for what is none of the concepts.

        Raises:
            ValueError: if there is no concept; if a concept is empty or in the background too; if the
                background is one string or has a text twice; if a template lacks its `{}`; or if an embedding
                is zero or no number.
        """
        if not names:
            raise ValueError('concepts is empty: the teacher needs at least one text to look for')
        if isinstance(background, str):
            raise ValueError(f'background={background!r} must be a list of texts')
        concepts = set(map(plain_name, names))
        names, templates = (*names, *background), tuple(templates)
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError(f'concepts and background must be non-empty strings, got {list(names)}')
        both = sorted(text for text in background if plain_name(text) in concepts)
        if both:
            raise ValueError(
                f'background={list(background)} has {both}, which are concepts too, and each would take half '
                "of the other's probability: leave them out of one of the two"
            )
        check_unrepeated(background, 'background')
        check_templates(templates)
        embeddings = torch.cat(
            [_embed(names[i : i + BLOCK], templates, encode_texts) for i in range(0, len(names), BLOCK)]
        )
        told = embeddings.isfinite().all(-1) & embeddings.any(-1)
        if not told.all():
            silent = [name for name, ok in zip(names, told.tolist()) if not ok]
            raise ValueError(
                f'the text embeddings of {silent} are zero or no numbers: nothing can be found by them'
            )
        return cls(names, templates, embeddings, len(background))

    @property
    def num_concepts(self) -> int:
        """How many of the names are concepts."""
        return len(self.names) - self.num_background

    def __len__(self) -> int:
        return len(self.names)


def _embed(
    names: Sequence[str], templates: Sequence[str], encode_texts: Callable[[list[str]], Tensor]
) -> Tensor:
    """The normalised mean (n, E) over the prompts' unit embeddings."""
    per_template = [
        F.normalize(encode_texts([template.replace('{}', name) for name in names]).float(), dim=-1)
        for template in templates
    ]
    return F.normalize(torch.stack(per_template).mean(0), dim=-1)
