"""A trained student, asked about images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from lfi.utils.config_types import leaves
from lfi.utils.fileio import hash_files
from lfi.utils.repositories import WEIGHTS, is_student, local_folder

from .concept_answers import ConceptAnswers
from .image_pipeline import UnfitImageError
from .interaction_inferencer import InteractionInferencer


class StudentReader:
    """Reads maps and presence of a student that learnt from interactions.

    Args:
        cfg: The config of its training.
        checkpoint: Its checkpoint, a file or a URL.
        texts: The concepts. Defaults to None: the classes of the training.
        device: Of the model. Defaults to None: a GPU where there is one.

    Raises:
        ValueError: If the model cannot answer texts; or as `InteractionInferencer` says.
        FileNotFoundError, RuntimeError, ImportError: Likewise.
    """

    # The best on validation images of Shapes (docs/auto_labels.md). Presence is of each concept by itself.
    presence_threshold = 0.5
    mask_threshold = 0.2

    def __init__(
        self,
        cfg: Config,
        checkpoint: str | Path,
        texts: Sequence[str] | None = None,
        device: str | None = None,
    ) -> None:
        self.inferencer = InteractionInferencer(cfg, checkpoint, device)
        # Without a text that can be answered there is no default: asking for the classes says what is wrong.
        # Classes of one name have one text.
        classes = dict.fromkeys(self.inferencer.default_texts or self.inferencer.classes)
        self.concepts: tuple[str, ...] = tuple(texts or classes)
        self.inferencer.stream([], self.concepts)
        self.identity: dict[str, Any] = dict(
            checkpoint=_digest(checkpoint), **_settings(cfg), concepts=list(self.concepts)
        )

    def __call__(self, images: Sequence[np.ndarray]) -> list[ConceptAnswers]:
        """The answers for images, each (H, W, 3) uint8 BGR, of any sizes.

        Raises:
            UnfitImageError: If the test pipeline cannot take one of them.
        """
        results = list(self.inferencer.stream(list(images), self.concepts, batch_size=len(images)))
        if self.inferencer.skipped:
            sizes = ', '.join(f'{image.shape[1]} x {image.shape[0]}' for image in images)
            raise UnfitImageError(f'the test pipeline cannot take an image among those of {sizes} pixels')
        return [ConceptAnswers(each.presence, each.maps, each.view, comparable=False) for each in results]


def _digest(checkpoint: str | Path) -> str:
    """Of the content of a file, or of a student's folder; a URL is its own name."""
    path = local_folder(checkpoint) / WEIGHTS if is_student(checkpoint) else Path(checkpoint)
    return hash_files(blake2b(digest_size=16), path).hexdigest() if path.is_file() else str(checkpoint)


def _settings(cfg: Config) -> dict[str, str]:
    """Digests of what else answers depend on: the model, its teacher's texts, how images are loaded."""
    model = {name: value for name, value in cfg.model.items() if name != 'teacher_cache'}
    datasets = leaves((cfg.get('test_dataloader') or {}).get('dataset'))
    pipelines = [dataset.get('pipeline') for dataset in datasets]
    parts = dict(model=[model, cfg.get('data_preprocessor')], test_pipeline=pipelines)
    return {
        name: blake2b(Config(dict(part=part)).pretty_text.encode(), digest_size=8).hexdigest()
        for name, part in parts.items()
    }
