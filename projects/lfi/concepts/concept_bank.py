"""Concept bank: names, prompt templates and text embeddings of concepts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, as_tensor, autocast

from .names import check_unique, plain_name

BATCH_SIZE = 256
"""Number of concepts in an encoder call: all names of ImageNet-21k together would take gigabytes."""


@dataclass(frozen=True)
class ConceptBank:
    """Concepts, their prompts and text embeddings, computed once.

    Args:
        names: the C names. The task's classes come first, in the task's order; the background comes last.
        templates: prompts with `{}` for the name.
        embeddings: (C, E) float32, normalised mean of the prompts' unit embeddings.
        num_background: number of background names. Defaults to 0.
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
        """Build a bank, and embed its names.

        Args:
            names: names of the concepts.
            templates: prompts with `{}` for the name.
            encode_texts: text encoder, from n texts to embeddings (n, E).
            background: texts for everything that is no concept. Defaults to ().

        Raises:
            ValueError: if there is no concept; if a name is empty, or is in the background too; if the
                background is a string, or has a duplicate; if a template lacks its `{}`; or if an embedding
                is zero or not finite.
        """
        if not names:
            raise ValueError('concepts is empty: the teacher needs at least one text to look for')
        if isinstance(background, str) or not isinstance(background, Sequence):
            raise ValueError(f'background={background!r} must be a list of texts')
        concepts = set(map(plain_name, names))
        names, templates = (*names, *background), tuple(templates)
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError(f'concepts and background must be non-empty strings, got {list(names)}')
        shared = sorted(text for text in background if plain_name(text) in concepts)
        if shared:
            raise ValueError(
                f"background={list(background)} of the teacher's config has {shared}, which are concepts "
                'too, and would share their probability: remove them from one of the lists'
            )
        check_unique(background, 'background')
        check_templates(templates)
        embeddings = torch.cat(
            [
                _embed(names[i : i + BATCH_SIZE], templates, encode_texts)
                for i in range(0, len(names), BATCH_SIZE)
            ]
        )
        valid = embeddings.isfinite().all(-1) & embeddings.any(-1)
        if not valid.all():
            invalid = [name for name, ok in zip(names, valid.tolist()) if not ok]
            raise ValueError(
                f'the text embeddings of {invalid} are zero or not finite: check the weights of the teacher'
            )
        return cls(names, templates, embeddings, len(background))

    @property
    def num_concepts(self) -> int:
        """Number of names without the background."""
        return len(self.names) - self.num_background

    def __len__(self) -> int:
        return len(self.names)


def _embed(
    names: Sequence[str], templates: Sequence[str], encode_texts: Callable[[list[str]], Tensor]
) -> Tensor:
    """Embed n names: the normalised mean (n, E) of the prompts' unit embeddings."""
    per_template = [
        F.normalize(encode_texts([template.replace('{}', name) for name in names]).float(), dim=-1)
        for template in templates
    ]
    return F.normalize(torch.stack(per_template).mean(0), dim=-1)


ENSEMBLES = {'openai': 'OPENAI_IMAGENET_TEMPLATES', 'simple': 'SIMPLE_IMAGENET_TEMPLATES'}
"""Ensembles of open_clip: the 80 templates of CLIP's authors for ImageNet, and the 7 best of them."""


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Return the templates as a tuple; raise a ValueError if there are none, or one lacks its `{}`."""
    if not templates or not all(isinstance(template, str) and '{}' in template for template in templates):
        raise ValueError(f'templates must be strings with {{}} for the concept, got {list(templates)}')
    return tuple(templates)


def prompt_templates(templates: Sequence[str] | str) -> tuple[str, ...]:
    """Return prompt templates with `{}` for the concept.

    Args:
        templates: templates, or the name of an ensemble in `ENSEMBLES`.

    Raises:
        ValueError: if the ensemble is unknown, or a template has no `{}`.
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
    # Imported late: data sets import this module without a model.
    import open_clip

    return tuple(template('{}') for template in getattr(open_clip, ENSEMBLES[templates]))


# Embeddings with this cosine are 0.01 apart: at CLIP's scale of 100, their logits differ by 1 at most. With a
# cosine of 0.9995 they may differ by 3. "circle" and "a circle" have a cosine of 0.998.
SAME_COSINE = 0.99995
# Rows of the matrix of cosines that are computed at once: 40 MB for 10,000 texts.
ROWS = 1024


def warn_about_equal_embeddings(names: Sequence[str], embeddings: Tensor, num_checked: int = 0) -> None:
    """Warn about different texts with equal embeddings, for which a teacher has equal maps.

    The warning names the first pair, and counts the others. Duplicates of a text are not counted, since
    classes of a data set may share a name.

    Args:
        names: the C texts.
        embeddings: (C, E) float32, of unit length.
        num_checked: number of texts at the start that were compared before. Defaults to 0.
    """
    id_by_name = {name: index for index, name in enumerate(names)}
    text_ids = as_tensor([id_by_name[name] for name in names], device=embeddings.device)
    first_pair, num_pairs = None, 0
    for start in range(num_checked, len(names), ROWS):
        end = min(start + ROWS, len(names))
        # Half precision cannot tell similar texts apart.
        with autocast(embeddings.device.type, enabled=False):
            equal = embeddings[start:end] @ embeddings[:end].T >= SAME_COSINE
        equal &= text_ids[start:end, None] != text_ids[:end]
        # Count each pair once.
        equal = equal.tril(start - 1)
        num_pairs += int(equal.sum())
        if first_pair is None and num_pairs:
            row, column = divmod(int(equal.flatten().int().argmax()), end)
            first_pair = names[column], names[start + row]
    if first_pair is None:
        return
    others = '' if num_pairs == 1 else f', and {num_pairs - 1} more pair{"s" * (num_pairs > 2)} of texts too'
    print_log(
        f'{first_pair[0]!r} and {first_pair[1]!r} have the same text embedding{others}: their maps are equal.'
        ' The teacher may not know their words, or their language: reword them, or leave one out',
        'current',
        logging.WARNING,
    )
