"""What a teacher's config says of texts, for those who need no more of the teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lfi.concepts import ConceptBank, concept_names, prompt_templates, warn_of_same_embeddings
from lfi.registry import TEACHERS, type_of

from .loading.weights import load_vlm
from .model_config import bind_arguments


class TextTower:
    """The texts of a teacher's config, and the teacher's text tower, which embeds each text once.

    The tower is loaded at the first text and kept; the teacher's image tower is dropped.

    Args:
        teacher: config of a teacher that `TEACHERS` knows.
        templates: prompts, as the teacher's argument of this name. Defaults to None, the teacher's own.
        device: where the tower runs. Defaults to the CPU.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        templates: Sequence[str] | str | None = None,
        device: torch.device | str = 'cpu',
    ) -> None:
        self.teacher, self.device = teacher, device
        self._templates = templates
        self._known: dict[str, Tensor] = {}

    @cached_property
    def templates(self) -> tuple[str, ...]:
        """The prompts, with `{}` for the text."""
        return prompt_templates(self._arguments['templates'] if self._templates is None else self._templates)

    @cached_property
    def concepts(self) -> tuple[str, ...]:
        """The names of the concepts, in the bank's order.

        Raises:
            ValueError, OSError: as `concept_names` says.
        """
        return tuple(concept_names(self._arguments['concepts']))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes among the concepts: those without `extra`. Errors as `concepts`."""
        concepts = self._arguments['concepts']
        if isinstance(concepts, Mapping):
            concepts = {key: value for key, value in concepts.items() if key != 'extra'}
        return tuple(concept_names(concepts))

    @property
    def background(self) -> tuple[str, ...]:
        """Texts for what is none of the concepts; they follow the concepts in the bank."""
        return tuple(self._arguments['background'])

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, each in all prompts; it warns of those that are the same as others that were embedded.

        Args:
            texts: T of them.

        Returns:
            (T, E) float32, of unit length.

        Raises:
            FileNotFoundError, ValueError, RuntimeError, ImportError: as `load_vlm` and `ConceptBank.encode`
                say.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            bank, known = ConceptBank.encode(new, self.templates, self._encode), len(self._known)
            self._known.update(zip(new, bank.embeddings))
            warn_of_same_embeddings([*self._known], torch.stack([*self._known.values()]), known)
        return torch.stack([self._known[text] for text in texts])

    @torch.no_grad()
    def bank(self) -> ConceptBank:
        """The concepts without the background, embedded. Errors and warnings as `concepts` and `embed`."""
        bank = ConceptBank.encode(self.concepts, self.templates, self._encode)
        warn_of_same_embeddings(bank.names, bank.embeddings)
        return bank

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        arguments = dict(self.teacher)
        kind = type_of({'type': arguments.pop('type', 'VLMAttentionTeacher')}, TEACHERS, 'teacher')
        return bind_arguments(kind, arguments)

    @cached_property
    def _encode(self) -> Callable[[list[str]], Tensor]:
        vlm: Any
        source = ('model', 'pretrained', 'allow_random', 'weights_file')
        vlm, tokenizer = load_vlm(*(self._arguments[name] for name in source))
        vlm.visual = None
        vlm.to(self.device)
        return lambda texts: vlm.encode_text(tokenizer(texts).to(self.device))
