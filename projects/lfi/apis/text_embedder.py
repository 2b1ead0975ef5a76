"""Embeddings of texts, in the space in which a student answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lfi.concepts import ConceptBank, prompt_templates
from lfi.models.teachers.weights import load_vlm


class TextEmbedder:
    """Embeds texts by the text tower of a teacher, each text once.

    The tower is loaded for the first text, without the teacher's image tower, and kept.

    Args:
        teacher: Config of the teacher.
        templates: Prompts, as the teacher's argument of this name; None for the teacher's own.
        device: Device of the tower.
    """

    def __init__(
        self, teacher: Mapping, templates: Sequence[str] | str | None, device: torch.device | str
    ) -> None:
        self.teacher, self.device = teacher, device
        if templates is None:
            templates = teacher.get('templates', ('a photo of a {}.',))
        self.templates = prompt_templates(templates)
        self._encode: Callable[[list[str]], Tensor] | None = None
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed T texts.

        Returns:
            (T, E) float32, of unit length.

        Raises:
            FileNotFoundError, ValueError, RuntimeError, ImportError: As for `load_vlm` and
                `ConceptBank.encode`.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            bank = ConceptBank.encode(new, self.templates, self._encode_texts)
            self._known.update(zip(new, bank.embeddings))
        return torch.stack([self._known[text] for text in texts])

    def _encode_texts(self, texts: list[str]) -> Tensor:
        if self._encode is None:
            self._encode = self._load()
        return self._encode(texts)

    def _load(self) -> Callable[[list[str]], Tensor]:
        teacher = self.teacher
        vlm: Any
        vlm, tokenizer = load_vlm(
            teacher['model'],
            teacher.get('pretrained'),
            teacher.get('allow_random', False),
            teacher.get('weights_file'),
        )
        vlm.visual = None
        vlm.to(self.device)
        return lambda texts: vlm.encode_text(tokenizer(texts).to(self.device))
