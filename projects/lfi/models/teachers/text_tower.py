"""Texts and text tower of a teacher, built from its config without the image tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lfi.concepts import ConceptBank, concept_names, prompt_templates, warn_about_equal_embeddings
from lfi.registry import TEACHERS, resolve_type
from lfi.utils.repositories import TEXTS_FILE, TOWER_FOLDER

from .loading.weights import load_vlm
from .model_config import bind_arguments
from .stored_texts import StoredTexts
from .stored_tower import has_text_tower, load_text_tower
from .vlm import Tokenizer

MIN_COSINE = 0.999
"""Smallest cosine of two embeddings of a text by the same tower, also in another precision."""
SHOWN = 10
"""Number of stored texts that a message lists."""
NUM_COMPARED = 8
"""Number of stored texts that a tower embeds again, to show that it is the training's."""


class TextTower:
    """Texts of a teacher's config, and the teacher's text tower, which embeds each text once.

    The tower is loaded at the first text that has no stored embedding, and stays in memory. The teacher's
    image tower is dropped.

    Args:
        teacher: config of a teacher that is registered in `TEACHERS`. Its `text_folder` names the folder of
            a saved student, with the embeddings of the training's texts and maybe the text tower.
        templates: prompts, in the form of the teacher's `templates`. Defaults to None, the teacher's own.
        device: device of the tower. Defaults to the CPU.
        stored: embeddings of the training's texts. Defaults to None: those in `text_folder`, if it is given.

    Raises:
        FileNotFoundError, ValueError: if the embeddings in `text_folder` are missing or corrupted.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        templates: Sequence[str] | str | None = None,
        device: torch.device | str = 'cpu',
        stored: StoredTexts | None = None,
    ) -> None:
        self.teacher, self.device = teacher, device
        folder = teacher.get('text_folder')
        self._tower_folder = None if folder is None else Path(folder) / TOWER_FOLDER
        self._stored = stored if folder is None else StoredTexts.read(Path(folder) / TEXTS_FILE)
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
        num_old = len(self._embeddings)
        new = [text for text in dict.fromkeys(texts) if text not in self._embeddings]
        if new and self._stored is not None:
            stored = self._stored.by_text(self.templates)
            self._embeddings.update((text, stored[text].to(self.device)) for text in new if text in stored)
            new = [text for text in new if text not in stored]
        if new or not texts:
            bank = ConceptBank.encode(new, self.templates, self._encode)
            self._embeddings.update(zip(new, bank.embeddings))
        if len(self._embeddings) > num_old:
            warn_about_equal_embeddings(
                [*self._embeddings], torch.stack([*self._embeddings.values()]), num_old
            )
        return torch.stack([self._embeddings[text] for text in texts])

    def bank(self) -> ConceptBank:
        """Embed the concepts without the background. Raises and warns as `concepts` and `embed` do."""
        return ConceptBank(self.concepts, self.templates, self.embed(self.concepts))

    def texts_to_store(self) -> StoredTexts:
        """Embed the concepts and the background. Raises and warns as `concepts` and `embed` do."""
        names = tuple(dict.fromkeys((*self.concepts, *self.background)))
        return StoredTexts(names, self.templates, self.embed(names))

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        arguments = dict(self.teacher)
        kind = resolve_type({'type': arguments.pop('type', 'VLMAttentionTeacher')}, TEACHERS, 'teacher')
        return bind_arguments(kind, arguments)

    @cached_property
    def _encode(self) -> Callable[[list[str]], Tensor]:
        vlm: Any
        vlm, tokenizer = self._load()
        vlm.visual = None
        vlm.to(self.device)

        def encode(texts: list[str]) -> Tensor:
            embeddings: Tensor = vlm.encode_text(tokenizer(texts).to(self.device))
            return embeddings

        if self._stored is not None:
            self._check_same(self._stored, encode)
        return encode

    def _load(self) -> tuple[Any, Tokenizer]:
        if self._tower_folder is not None and has_text_tower(self._tower_folder):
            return load_text_tower(self._tower_folder)
        source = ('model', 'pretrained', 'allow_random', 'weights_file')
        try:
            return load_vlm(*(self._arguments[name] for name in source))
        except (FileNotFoundError, ImportError, RuntimeError, ValueError) as error:
            if self._stored is None:
                raise
            names = self._stored.names
            shown = ' | '.join(names[:SHOWN]) + (' | …' if len(names) > SHOWN else '')
            raise RuntimeError(
                f'without its teacher the student answers its {len(names)} training texts alone: {shown}. '
                'For other texts save it with its text tower (lfi export --to hub --with-text-tower, or '
                "text_tower=True in Python); or put the teacher's folder, "
                f'{self._arguments["model"]}, below LFI_TEACHER_ROOT; or let open_clip fetch the teacher, if '
                f'it has it ({error})'
            ) from error

    def _check_same(self, stored: StoredTexts, encode: Callable[[list[str]], Tensor]) -> None:
        """Check that a text tower embeds stored texts as the tower of the training did."""
        names = stored.names[:NUM_COMPARED]
        embeddings = ConceptBank.encode(names, stored.templates, encode).embeddings.to('cpu')
        expected = stored.embeddings[: len(names)]
        if embeddings.shape != expected.shape:
            found = f'its embeddings have {embeddings.shape[1]} numbers, not {expected.shape[1]}'
        else:
            cosines = (embeddings * expected).sum(1)
            if cosines.min() >= MIN_COSINE:
                return
            worst = int(cosines.argmin())
            found = f'its embedding of {names[worst]!r} has a cosine of {cosines[worst]:.3f}'
        raise ValueError(
            f'the teacher {self._arguments["model"]!r} on this machine is not that of the training: {found} '
            "with the student's own: give the teacher that the student was trained with"
        )
