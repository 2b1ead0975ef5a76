"""Texts and text tower of a teacher, built from its config without the image tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lfi.concepts import ConceptBank, concept_names, prompt_templates, warn_about_equal_embeddings
from lfi.registry import TEACHERS, resolve_type

from .loading.weights import load_vlm
from .model_config import bind_arguments


class TextTower:
    """Texts of a teacher's config, and the teacher's text tower, which embeds each text once.

    The tower is loaded at the first text and stays in memory. The teacher's image tower is dropped.

    Args:
        teacher: config of a teacher that is registered in `TEACHERS`.
        templates: prompts, in the form of the teacher's `templates`. Defaults to None, the teacher's own.
        device: device of the tower. Defaults to the CPU.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        templates: Sequence[str] | str | None = None,
        device: torch.device | str = 'cpu',
    ) -> None:
        self.teacher, self.device = teacher, device
        self._templates = templates
        self._embeddings: dict[str, Tensor] = {}

    @cached_property
    def templates(self) -> tuple[str, ...]:
        """Prompts, with `{}` for the text."""
        return prompt_templates(self._arguments['templates'] if self._templates is None else self._templates)

    @cached_property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, in the bank's order.

        Raises:
            ValueError, OSError: if `concept_names` cannot resolve `concepts`.
        """
        return tuple(concept_names(self._arguments['concepts']))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: the concepts without `extra`. Raises the errors of `concepts`."""
        concepts = self._arguments['concepts']
        if isinstance(concepts, Mapping):
            concepts = {key: value for key, value in concepts.items() if key != 'extra'}
        return tuple(concept_names(concepts))

    @property
    def background(self) -> tuple[str, ...]:
        """Texts of the background; they follow the concepts in the bank."""
        return tuple(self._arguments['background'])

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, each in all prompts, and warn of texts whose embeddings are equal.

        Args:
            texts: T texts.

        Returns:
            (T, E), embeddings of unit length, float32.

        Raises:
            FileNotFoundError, ValueError, RuntimeError, ImportError: if `load_vlm` cannot load the model, or
                `ConceptBank.encode` refuses a text.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
        if new:
            bank = ConceptBank.encode(new, self.templates, self._encode)
            num_old = len(self._embeddings)
            self._embeddings.update(zip(new, bank.embeddings))
            warn_about_equal_embeddings(
                [*self._embeddings], torch.stack([*self._embeddings.values()]), num_old
            )
        return torch.stack([self._embeddings[text] for text in texts])

    @torch.no_grad()
    def bank(self) -> ConceptBank:
        """Embed the concepts without the background. Raises and warns as `concepts` and `embed` do."""
        bank = ConceptBank.encode(self.concepts, self.templates, self._encode)
        warn_about_equal_embeddings(bank.names, bank.embeddings)
        return bank

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        arguments = dict(self.teacher)
        kind = resolve_type({'type': arguments.pop('type', 'VLMAttentionTeacher')}, TEACHERS, 'teacher')
        return bind_arguments(kind, arguments)

    @cached_property
    def _encode(self) -> Callable[[list[str]], Tensor]:
        vlm: Any
        source = ('model', 'pretrained', 'allow_random', 'weights_file')
        vlm, tokenizer = load_vlm(*(self._arguments[name] for name in source))
        vlm.visual = None
        vlm.to(self.device)
        return lambda texts: vlm.encode_text(tokenizer(texts).to(self.device))
