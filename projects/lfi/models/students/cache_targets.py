"""Targets to cache, from the teacher of a student's config without the student."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

import torch

from lfi.errors import UsageError
from lfi.models.batches.mixtures import check_mixable, records_mixtures
from lfi.models.teachers import (
    VLMAttentionTeacher,
    build_teacher,
    cache_kind,
    features_to_cache,
    maps_to_cache,
)
from lfi.models.teachers.asked_concepts import num_asked_concepts
from lfi.models.teachers.model_config import without_stored_options
from lfi.models.teachers.teacher_identity import max_concepts_of
from lfi.registry import MODELS
from lfi.structures import BatchView, InteractionMaps
from lfi.utils.config_types import configs_in, type_name
from lfi.utils.options import check_dicts

from .components import check_teacher
from .config_facts import is_student


class CacheTargets:
    """Teacher of a student's config, which computes the targets that the student's parts need.

    The student is built once, for the checks of its training, and then discarded.

    Args:
        model: config of an `lfi.Student`.

    Raises:
        UsageError: if the model is no `lfi.Student`, or no part needs a teacher.
        ValueError: if the student cannot be built or trained.
        TypeError: if the student cannot be built.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        if not is_student(model):
            raise UsageError(
                f'model.type={model.get("type")!r} learns from no teacher: a cache is for an lfi.Student'
            )
        check_dicts(teacher=model['teacher'])
        # Check a training that reads a cache. No check uses the folder's name, 'cache'.
        model = deepcopy({**model, 'teacher': {**model['teacher'], 'cache': 'cache'}})
        for part in configs_in(model):
            # timm loads pretrained weights in the constructor.
            if 'type' in part and type_name(part) == 'TIMMBackbone':
                part['pretrained'] = False
        with torch.random.fork_rng(devices=[]):
            student = MODELS.build(model)
        self.family, self.parts, self.teacher_outputs = student.family, student.parts, student.teacher_outputs
        if not self.teacher_outputs:
            raise UsageError('model.supervision has no part that needs a teacher: there is nothing to cache')
        student.check_training()
        self.num_classes = self.family.num_classes(student)
        config = student.require_teacher_cfg()
        kind = cache_kind(self.teacher_outputs)
        self.identity = kind.identity(without_stored_options(config))
        text_dims = None if student.readout is None else student.readout.text_dims
        self.teacher = build_teacher({**config, 'cache': None}, self.teacher_outputs)
        asked = num_asked_concepts(self.teacher.bank, max_concepts_of(without_stored_options(config)))
        if self.teacher.max_concepts != asked:
            raise UsageError(
                f'model.teacher: {type(self.teacher).__name__} sets max_concepts={self.teacher.max_concepts} '
                'by its own code, which training from a cache cannot know: make it an argument of the class'
            )
        check_teacher(self.teacher, self.parts, text_dims, self.num_classes)
        if records_mixtures(student.data_preprocessor):
            check_mixable(self.teacher.directions)

    def check_mosaics(self) -> None:
        """Check that a training that reads the cache can use pictures of several images.

        Raises:
            UsageError: if a part needs features, which cannot be composed for such pictures.
            ValueError: if the teacher's maps have no semantic direction.
        """
        if 'features' in self.teacher_outputs:
            raise UsageError(
                'model.supervision has a part that needs features, and cached features cannot be composed '
                'for mosaics: leave out lfi.RecordedMosaic and lfi.RecordedMixUp, or set teacher.cache=None'
            )
        check_mixable(self.teacher.directions)

    @property
    def reads_labels(self) -> bool:
        """Whether training reads labels."""
        return self.family.reads_labels

    def compute(self, batch: BatchView) -> InteractionMaps:
        """Compute the targets of unaugmented images: maps, or features in the form of maps.

        Presence is the teacher's own: labels do not raise it.
        """
        if 'maps' in self.teacher_outputs and 'features' not in self.teacher_outputs:
            return maps_to_cache(self.teacher, batch)
        return features_to_cache(cast('VLMAttentionTeacher', self.teacher), batch)
