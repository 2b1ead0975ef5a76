"""Readers of presence and maps of concepts, from a student or a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model.utils import stack_batch
from torch import Tensor

from lfi.concepts import check_unique
from lfi.concepts.names import plain_name
from lfi.engine.machine import usable_device
from lfi.errors import UsageError
from lfi.models.students.config_facts import without_cache
from lfi.models.teachers import VLMAttentionTeacher, build_teacher, teacher_identity
from lfi.structures import PixelFormat, TeacherReading
from lfi.utils.config_types import leaf_configs, type_name
from lfi.utils.fileio import hash_files
from lfi.utils.repositories import WEIGHTS, is_student, local_folder

from .image_pipeline import UnfitImageError
from .interaction_inferencer import InteractionInferencer


@dataclass(frozen=True)
class ConceptAnswers:
    """Presence and maps of T concepts in one image. All tensors are on the CPU.

    Args:
        presence: (T,) in [0, 1], whether the image shows each concept.
        maps: (T, h, w) float32, of any scale; higher means that the location shows the concept.
        view: (2, 3), the part of the image that the maps show, see `InteractionResult`.
        comparable: whether maps of different concepts are on one scale, so that the strongest concept of a
            location is its class.
    """

    presence: Tensor
    maps: Tensor
    view: Tensor
    comparable: bool


class StudentReader:
    """Reader of a student that learnt from interactions.

    Args:
        cfg: Config of the training.
        checkpoint: Checkpoint of the student, a file or a URL.
        texts: The concepts. Defaults to None: classes of the training.
        device: Device of the model. Defaults to None: a GPU if there is one.

    Raises:
        ValueError: If the model cannot answer texts, or `InteractionInferencer` refuses an argument.
        FileNotFoundError, RuntimeError, ImportError: If a file is missing or the teacher is not available.
    """

    # Each concept is judged alone. The other two are best on validation images of Shapes: docs/auto_labels.md
    presence_threshold = 0.5
    mask_threshold = 0.2
    min_score = 0.35

    def __init__(
        self,
        cfg: Config,
        checkpoint: str | Path,
        texts: Sequence[str] | None = None,
        device: str | None = None,
    ) -> None:
        self.inferencer = InteractionInferencer(cfg, checkpoint, device)
        # If the model has no default texts, `stream` raises the reason. Repeated names become one text.
        classes = dict.fromkeys(self.inferencer.default_texts or self.inferencer.classes)
        self.concepts: tuple[str, ...] = tuple(texts or classes)
        self.inferencer.stream([], self.concepts)
        self.identity: dict[str, Any] = dict(
            checkpoint=_digest(checkpoint), **_settings(cfg), concepts=list(self.concepts)
        )

    def __call__(self, images: Sequence[np.ndarray]) -> list[ConceptAnswers]:
        """Return the answers for images, each (H, W, 3) uint8 BGR, of any sizes.

        Raises:
            UnfitImageError: If the test pipeline cannot process an image.
        """
        results = list(self.inferencer.stream(list(images), self.concepts, batch_size=len(images)))
        if self.inferencer.skipped:
            sizes = ', '.join(f'{image.shape[1]} x {image.shape[0]}' for image in images)
            raise UnfitImageError(f'the test pipeline cannot take one of the images of {sizes} pixels')
        return [
            ConceptAnswers(result.presence, result.maps, result.view, comparable=False) for result in results
        ]


def _digest(checkpoint: str | Path) -> str:
    """Return the digest of a checkpoint file or of a student folder's weights; return a URL unchanged."""
    path = local_folder(checkpoint) / WEIGHTS if is_student(checkpoint) else Path(checkpoint)
    return hash_files(blake2b(digest_size=16), path).hexdigest() if path.is_file() else str(checkpoint)


def _settings(cfg: Config) -> dict[str, str]:
    """Return digests of the configs on which answers depend: model, data preprocessor, test pipelines."""
    model = without_cache(cfg.model)
    datasets = leaf_configs((cfg.get('test_dataloader') or {}).get('dataset'))
    pipelines = [dataset.get('pipeline') for dataset in datasets]
    parts = dict(model=[model, cfg.get('data_preprocessor')], test_pipeline=pipelines)
    return {
        name: blake2b(Config(dict(part=part)).pretty_text.encode(), digest_size=8).hexdigest()
        for name, part in parts.items()
    }


def reading_config(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `reading` of a model's `lfi.Interactions`, empty if it has none."""
    parts = (model.get('supervision') or {}).values()
    interactions = [part for part in parts if part and type_name(part) == 'Interactions']
    return dict(interactions[0].get('reading') or {}) if interactions else {}


def check_no_background(texts: Sequence[str], background: Sequence[str], source: str) -> None:
    """Raise a UsageError for a text that is a background text too.

    Args:
        texts: texts to ask for.
        background: texts of the background.
        source: where the background comes from, for the message.
    """
    names = set(map(plain_name, background))
    shared = [text for text in texts if plain_name(text) in names]
    if shared:
        raise UsageError(
            f'texts has {shared}, which {source} has as background texts: leave them out, or reword them'
        )


# Least presence of a labelled concept, by kind of presence. 'softmax' has the best F1 on training images of
# COCO, 'best-location' on those of Shapes (docs/auto_labels.md). 'alone' is a probability.
PRESENCE_THRESHOLDS = {'softmax': 0.05, 'best-location': 0.6, 'alone': 0.5}
# Least score of a written object, best by F0.5 of boxes on training images of the same data; 'alone' is the
# student's.
MIN_SCORES = {'softmax': 0.1, 'best-location': 0.5, 'alone': 0.35}


class TeacherReader:
    """Reader of a config's teacher, by the `reading` of the config's `lfi.Interactions`.

    Without a `reading`, maps are read by 'logits' and presence by 'image'. 'label' presence becomes 'image',
    since there are no labels. Maps are those of the last layer.

    Args:
        cfg: The config.
        texts: Concepts in place of the teacher's, with the same background. A `VLMAttentionTeacher` without a
            background compares each with names of ImageNet, so that no presence depends on the other texts.
            Defaults to None: the teacher's.
        device: Device of the teacher. Defaults to None: a GPU if there is one.

    Raises:
        ValueError: If the config has no teacher, the device is not available, the teacher cannot be built, or
            relative presence has only one concept.
        FileNotFoundError, RuntimeError, ImportError: If the teacher's files or packages are missing.
    """

    # Best on training images of Shapes and of COCO (docs/auto_labels.md).
    mask_threshold = 0.3

    def __init__(self, cfg: Config, texts: Sequence[str] | None = None, device: str | None = None) -> None:
        config = cfg.get('model', {}).get('teacher')
        if config is None:
            raise ValueError('the config has no model.teacher to ask: give --checkpoint to ask its student')
        if texts is not None:
            check_unique(texts, 'texts')
            check_no_background(
                texts, config.get('background') or (), 'model.teacher.background in the config'
            )
            config = dict(config, concepts=list(texts))
            if not config.get('background') and type_name(config) in ('', VLMAttentionTeacher.__name__):
                config.setdefault('presence_against', 'names')
        reading = reading_config(cfg.model)
        if reading.get('presence') == 'label':
            reading['presence'] = 'image'
        self.reading = TeacherReading(**reading)
        self.identity: dict[str, Any] = dict(
            teacher=teacher_identity({**config, 'max_concepts': None}), reading=vars(self.reading)
        )
        self.teacher: Any = build_teacher({**config, 'cache': None}, ())
        self.reading.check(self.teacher.directions)
        self.device = usable_device(device)
        bank = self.teacher.bank
        self.concepts: tuple[str, ...] = bank.names[: bank.num_concepts]
        if len(bank) == 1 and self._is_relative:
            raise ValueError(
                f'{self.concepts[0]!r} is the only concept, and its presence, a softmax over the bank, would '
                'be 1 in every image. Give more texts, or set model.teacher.background in the config'
            )

    @property
    def _is_relative(self) -> bool:
        absolute = self.reading.presence == 'image' and not self.teacher.presence_kind.startswith('softmax')
        return not absolute

    @property
    def presence_threshold(self) -> float:
        """Default threshold of this kind of presence."""
        return PRESENCE_THRESHOLDS[self._kind]

    @property
    def min_score(self) -> float:
        """Default least score of a written object, for this kind of presence."""
        return MIN_SCORES[self._kind]

    @property
    def _kind(self) -> str:
        if self.reading.presence == 'best-location':
            return 'best-location'
        return 'softmax' if self._is_relative else 'alone'

    def __call__(self, images: Sequence[np.ndarray]) -> list[ConceptAnswers]:
        """Return the answers for images, each (H, W, 3) uint8 BGR, of any sizes."""
        inputs = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images]
        sizes = [tuple(image.shape[:2]) for image in images]
        # Stack as uint8: the teacher resizes each image by itself.
        padded = stack_batch(inputs).to(self.device)
        maps = self.teacher.maps_of_bank(padded, PixelFormat.raw(), sizes)
        maps = self.reading(maps).to('cpu')
        heats = (maps.logits if maps.spatial_logits is None else maps.spatial_logits.exp())[:, -1]
        comparable = 'semantic' in maps.directions
        n = len(self.concepts)
        return [
            ConceptAnswers(presence[:n], heat[:n], torch.eye(2, 3), comparable)
            for presence, heat in zip(maps.presence, heats)
        ]
