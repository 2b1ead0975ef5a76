"""Readers: what a student or a teacher says of the concepts of raw images."""

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

from lfi.concepts import check_unrepeated
from lfi.engine.machine import usable_device
from lfi.models.students.of_config import online
from lfi.models.teachers import build_teacher, teacher_identity
from lfi.structures import PixelFormat, TeacherReading
from lfi.utils.config_types import leaves, type_name
from lfi.utils.fileio import hash_files
from lfi.utils.repositories import WEIGHTS, is_student, local_folder

from .image_pipeline import UnfitImageError
from .interaction_inferencer import InteractionInferencer


@dataclass(frozen=True)
class ConceptAnswers:
    """Presence and maps of T concepts in one image. All tensors are on the CPU.

    Args:
        presence: (T,) in [0, 1], whether the image shows each concept.
        maps: (T, h, w) float32, where: higher is stronger, of any scale.
        view: (2, 3), the part of the image that the maps show, as `InteractionResult` has it.
        comparable: whether maps of different concepts are on one scale, so that the stronger of two names a
            location.
    """

    presence: Tensor
    maps: Tensor
    view: Tensor
    comparable: bool


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
    """The digest of a file, or of a student's folder; a URL is its own name."""
    path = local_folder(checkpoint) / WEIGHTS if is_student(checkpoint) else Path(checkpoint)
    return hash_files(blake2b(digest_size=16), path).hexdigest() if path.is_file() else str(checkpoint)


def _settings(cfg: Config) -> dict[str, str]:
    """Digests of what else answers depend on: the model, its teacher's texts, how images are loaded."""
    model = online(cfg.model)
    datasets = leaves((cfg.get('test_dataloader') or {}).get('dataset'))
    pipelines = [dataset.get('pipeline') for dataset in datasets]
    parts = dict(model=[model, cfg.get('data_preprocessor')], test_pipeline=pipelines)
    return {
        name: blake2b(Config(dict(part=part)).pretty_text.encode(), digest_size=8).hexdigest()
        for name, part in parts.items()
    }


def reading_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """How a model's config reads its teacher's maps: the `reading` of its `lfi.Interactions`."""
    parts = (model.get('supervision') or {}).values()
    read = [part for part in parts if part and type_name(part) == 'Interactions']
    return dict(read[0].get('reading') or {}) if read else {}


# Presence from which a concept is labelled, by what presence is: the best F1 on training images, of COCO by
# the softmax, of Shapes by the best location (docs/auto_labels.md). That of a concept by itself is a
# probability.
PRESENCE_THRESHOLDS = {'softmax': 0.05, 'best-location': 0.6, 'alone': 0.5}


class TeacherReader:
    """Reads maps and presence of a config's teacher, as its `lfi.Interactions` says in `reading`.

    Without one maps are read by 'logits' and presence by 'image'. Where a training takes
    presence from labels alone, there are none here, and it is the teacher's own. Of several layers the last
    one's maps are read.

    Args:
        cfg: The config.
        texts: Other concepts than the teacher's own. Defaults to None. The background of the config stays.
        device: Of the teacher. Defaults to None: a GPU where there is one.

    Raises:
        ValueError: If the config has no teacher; if the device is not there; if its only concept has nothing
            to compete with; or as the teacher says.
        FileNotFoundError, RuntimeError, ImportError: As the teacher says.
    """

    # The best on training images of Shapes and of COCO (docs/auto_labels.md).
    mask_threshold = 0.3

    def __init__(self, cfg: Config, texts: Sequence[str] | None = None, device: str | None = None) -> None:
        config = cfg.get('model', {}).get('teacher')
        if config is None:
            raise ValueError('the config has no model.teacher to ask; give --checkpoint to ask its student')
        if texts is not None:
            check_unrepeated(texts, 'texts')
            config = dict(config, concepts=list(texts))
        reading = reading_of(cfg.model)
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
        if len(bank) == 1 and self._competes:
            raise ValueError(
                f'{self.concepts[0]!r} is the only concept, and presence is a softmax over the bank: it '
                'would be 1 in every image. Give more texts, or model.teacher.background in the config'
            )

    @property
    def _competes(self) -> bool:
        alone = self.reading.presence == 'image' and not self.teacher.own_presence.startswith('softmax')
        return not alone

    @property
    def presence_threshold(self) -> float:
        """The default of this kind of presence."""
        if self.reading.presence == 'best-location':
            return PRESENCE_THRESHOLDS['best-location']
        return PRESENCE_THRESHOLDS['softmax' if self._competes else 'alone']

    def __call__(self, images: Sequence[np.ndarray]) -> list[ConceptAnswers]:
        """The answers for images, each (H, W, 3) uint8 BGR, of any sizes."""
        inputs = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images]
        sizes = [tuple(image.shape[:2]) for image in images]
        # As they are stored, a byte a value: the teacher makes each one small by itself.
        padded = stack_batch(inputs).to(self.device)
        maps = self.teacher.maps_of_all(padded, PixelFormat.raw(), sizes)
        maps = self.reading(maps).to('cpu')
        heats = (maps.logits if maps.spatial_logits is None else maps.spatial_logits.exp())[:, -1]
        comparable = 'semantic' in maps.directions
        n = len(self.concepts)
        return [
            ConceptAnswers(presence[:n], heat[:n], torch.eye(2, 3), comparable)
            for presence, heat in zip(maps.presence, heats)
        ]
