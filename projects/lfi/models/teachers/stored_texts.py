"""Text embeddings that are stored with a student."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lfi.utils.options import is_plain_text

MAX_NORM_ERROR = 1e-3


@dataclass(frozen=True)
class StoredTexts:
    """Texts of a training with their embeddings.

    Args:
        names: the T texts: concepts, then the background.
        templates: prompts with `{}` for the text.
        embeddings: (T, E) float32, of unit length.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    embeddings: Tensor

    def to_bytes(self) -> bytes:
        """Encode the texts as a file of safetensors, with names and templates as metadata."""
        texts = json.dumps(dict(names=self.names, templates=self.templates), ensure_ascii=False)
        # The order of several keys would be random, and so would the file's sha256.
        content: bytes = save({'embeddings': self.embeddings.cpu().float().contiguous()}, {'texts': texts})
        return content

    @classmethod
    def read(cls, path: Path) -> StoredTexts:
        """Read a file of `to_bytes`.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if the file is corrupted.
        """
        if not path.is_file():
            raise FileNotFoundError(f'{path} is missing: copy the whole folder of the student')
        try:
            with safe_open(path, 'pt') as file:
                metadata, embeddings = file.metadata() or {}, file.get_tensor('embeddings')
            texts = json.loads(metadata['texts'])
            names, templates = tuple(texts['names']), tuple(texts['templates'])
        except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f'{path} is corrupted: {error}') from error
        if not all(isinstance(text, str) and is_plain_text(text) for text in (*names, *templates)):
            raise ValueError(f'{path} is corrupted: a text is longer than 1,000 characters, or not printable')
        if embeddings.ndim != 2 or len(embeddings) != len(names):
            raise ValueError(
                f'{path} is corrupted: {len(names)} texts with embeddings of shape {tuple(embeddings.shape)}'
            )
        embeddings = embeddings.float()
        # The negation refuses NaN too.
        if not ((embeddings.norm(dim=1) - 1).abs() < MAX_NORM_ERROR).all():
            raise ValueError(f'{path} is corrupted: an embedding has not the length 1')
        return cls(names, templates, embeddings)

    def by_text(self, templates: Sequence[str]) -> dict[str, Tensor]:
        """Return the embeddings (E,) by text; none if they were made with other prompts."""
        return dict(zip(self.names, self.embeddings)) if tuple(templates) == self.templates else {}
