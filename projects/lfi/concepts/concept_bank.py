"""The concepts a VLM is asked about: prompt templates, text embeddings, and which of these are alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, as_tensor, autocast

from .names import check_unrepeated, plain_name

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
        if isinstance(background, str) or not isinstance(background, Sequence):
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


ENSEMBLES = {'openai': 'OPENAI_IMAGENET_TEMPLATES', 'simple': 'SIMPLE_IMAGENET_TEMPLATES'}
"""open_clip's: the 80 templates of CLIP's authors for ImageNet, and the 7 best of them."""


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates, if there are any, each with `{}` for the concept; else a ValueError that shows them."""
    if not templates or not all(isinstance(template, str) and '{}' in template for template in templates):
        raise ValueError(f'templates must be strings with {{}} for the concept, got {list(templates)}')
    return tuple(templates)


def prompt_templates(templates: Sequence[str] | str) -> tuple[str, ...]:
    """Templates with `{}` for the concept.

    Args:
        templates: the templates themselves, or the name of an ensemble in `ENSEMBLES`.

    Returns:
        The templates.

    Raises:
        ValueError: if there is no ensemble of that name, or a template has no `{}`.
    """
    if not isinstance(templates, str | Sequence):
        raise ValueError(f'templates={templates!r} must be a list of prompts, or one of {sorted(ENSEMBLES)}')
    if not isinstance(templates, str):
        return check_templates(templates)
    if templates not in ENSEMBLES:
        raise ValueError(
            f'templates={templates!r} is unknown; choose from {sorted(ENSEMBLES)}, or give a list of '
            'prompts with {} for the concept'
        )
    # Data sets import this module, and no model.
    import open_clip

    return tuple(template('{}') for template in getattr(open_clip, ENSEMBLES[templates]))


# Unit embeddings are then nearer than 0.01, which moves no logit by 1 at CLIP's scale of 100. At 0.9995 one
# may move by 3, and those of "circle" and "a circle" are at 0.998.
SAME = 0.99995
# Rows that are compared at once: of 10,000 texts in 40 MB.
ROWS = 1024


def warn_of_same_embeddings(names: Sequence[str], embeddings: Tensor, known: int = 0) -> None:
    """Warn of different texts whose embeddings are the same: they get the same answers.

    It names the first two, and how many more such pairs there are. A text that stands there twice is passed
    over, as the classes of a data set may.

    Args:
        names: of the texts.
        embeddings: (C, E) float32, of unit length.
        known: so many, the first, were compared with one another before. Defaults to 0.
    """
    numbers = {name: number for number, name in enumerate(names)}
    texts = as_tensor([numbers[name] for name in names], device=embeddings.device)
    first, pairs = None, 0
    for start in range(known, len(names), ROWS):
        end = min(start + ROWS, len(names))
        # In half precision near texts would be the same.
        with autocast(embeddings.device.type, enabled=False):
            same = embeddings[start:end] @ embeddings[:end].T >= SAME
        same &= texts[start:end, None] != texts[:end]
        # Each pair once.
        same = same.tril(start - 1)
        pairs += int(same.sum())
        if first is None and pairs:
            row, column = divmod(int(same.flatten().int().argmax()), end)
            first = names[column], names[start + row]
    if first is None:
        return
    more = '' if pairs == 1 else f', and {pairs - 1} more pair{"s" * (pairs > 2)} of texts too'
    print_log(
        f'{first[0]!r} and {first[1]!r} have the same text embedding{more}: one is found wherever the other '
        'is. The teacher may not know their words, or their language: name them in other words, or leave one '
        'out',
        'current',
        logging.WARNING,
    )
