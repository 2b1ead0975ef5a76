"""The concepts a VLM is asked about, and their text embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.registry import DATASETS


@dataclass(frozen=True)
class ConceptBank:
    """Concepts, their prompts and text embeddings, computed once.

    Args:
        names: the C concepts. The first ones are the task's classes, in the task's order.
        templates: the prompts, each with `{}` for the concept's name.
        embeddings: (C, E) float32, unit length: the normalised mean over the prompts' unit embeddings.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    embeddings: Tensor

    @classmethod
    def encode(
        cls, names: Sequence[str], templates: Sequence[str], encode_texts: Callable[[list[str]], Tensor]
    ) -> ConceptBank:
        """Embed the concepts.

        Args:
            names: the concepts.
            templates: the prompts.
            encode_texts: from n texts to their embeddings (n, E).

        Raises:
            ValueError: if there is no concept, a concept is empty, or a template lacks its `{}`.
        """
        names, templates = tuple(names), tuple(templates)
        if not names:
            raise ValueError('concepts is empty: the teacher needs at least one text to look for')
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError(f'concepts must be non-empty strings, got {list(names)}')
        if not templates or not all('{}' in template for template in templates):
            raise ValueError(f'templates must be strings with {{}} for the concept, got {list(templates)}')
        per_template = [
            F.normalize(encode_texts([template.replace('{}', name) for name in names]).float(), dim=-1)
            for template in templates
        ]
        embeddings = F.normalize(torch.stack(per_template).mean(0), dim=-1)
        return cls(names, templates, embeddings)

    def __len__(self) -> int:
        return len(self.names)


def concept_names(concepts: Sequence[str] | dict) -> list[str]:
    """The names of a config's `concepts`.

    Args:
        concepts: the names themselves, or a data set, `dict(type='lfi.TinyImageNet', data_root=...)`,
            whose classes they are: `class_names` of that type is called with the other keys. Names
            under the key `extra` come after the classes.

    Raises:
        ValueError: if it is a single string, or the type is unknown or cannot name its classes.
    """
    if isinstance(concepts, str):
        raise ValueError(f'concepts={concepts!r} must be a list of names, or a data set that names them')
    if not isinstance(concepts, dict):
        return list(concepts)
    arguments = dict(concepts)
    name, extra = arguments.pop('type', None), arguments.pop('extra', ())
    dataset = DATASETS.get(name) if isinstance(name, str) else None
    if dataset is None or not hasattr(dataset, 'class_names'):
        raise ValueError(f'concepts.type={name!r} is no data set with class_names()')
    return [*dataset.class_names(**arguments), *extra]
