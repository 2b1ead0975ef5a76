"""What the teacher of a student's config is asked, without the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from lfi.errors import UsageError
from lfi.models.batches.mixtures import check_mixing
from lfi.models.teachers import (
    VLMAttentionTeacher,
    build_teacher,
    cache_kind,
    features_to_cache,
    text_dims_of,
)
from lfi.structures import BatchView, InteractionMaps
from lfi.utils.options import check_options

from .labels import concept_labels
from .of_config import family_of, is_student
from .parts import (
    build_control,
    build_predict_by,
    build_readout,
    build_supervision,
    check_rivalry,
    check_teacher,
    check_trained,
    needs_of,
    reads_of,
)
from .student import student_class


class Teaching:
    """The teacher of a student's config, asked online, and what the student's parts want of it.

    Args:
        model: config of an `lfi.Student`.

    Raises:
        UsageError: if it is another model's, or no part needs a teacher.
        ValueError: if there is no such task, or the teacher does not fit what would learn from its cache:
            text width, classes, readings, mixing.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        if not is_student(model):
            raise UsageError(
                f'model.type={model.get("type")!r} learns from no teacher: a cache is for an lfi.Student'
            )
        family = family_of(model)
        if family is None:
            # It says what is wrong with the task.
            student_class(model['task'])
        assert family is not None
        for name in ('teacher', 'readout'):
            if model.get(name) is not None:
                check_options(**{name: model[name]})
        self.family = family()
        self.family.check_config(model)
        predict_by = build_predict_by(model.get('predict_by'), family.predicts_by)
        config = predict_by.teacher_of(model['teacher'])
        self.parts = build_supervision(model.get('supervision') or {}, family, config)
        build_control(model.get('control'), self.parts)
        self.needs = needs_of(self.parts.values())
        if not self.needs:
            raise UsageError('model.supervision has no part that needs a teacher: there is nothing to cache')
        self.num_classes = self.family.num_classes_of(model)
        kind = cache_kind(self.needs)
        self.identity = kind.identity({key: value for key, value in config.items() if key != 'cache'})
        self.reads = reads_of(self.parts, predict_by)
        self.teacher_cfg, self.head = config, model.get('head')
        predict_by.check(self)
        predict_by.check_training(self)
        # As wide as nothing in particular: it is built for the checks of its arguments alone.
        readout = build_readout(model.get('readout'), self.parts, predict_by, 8, lambda: text_dims_of(config))
        check_rivalry(readout, self.reads)
        check_trained(readout, self.reads)
        text_dims = None if readout is None else readout.text_dims
        self.teacher = build_teacher({**config, 'cache': None}, self.needs)
        check_teacher(self.teacher, self.parts, text_dims, self.num_classes)
        check_mixing(self.family.batch_augments(model), self.teacher.directions)

    @property
    def reads_labels(self) -> bool:
        """Whether labels choose what the teacher is asked about first."""
        return self.family.reads_labels

    def labels(self, data_samples: Sequence, device: torch.device) -> Tensor | None:
        """The labels of unaugmented images, (B, C); None where the teacher is asked about no concept."""
        if 'maps' not in self.needs:
            return None
        # A cache keeps the teacher's own presence, whatever training makes of it.
        num_texts = len(self.teacher.bank)
        return concept_labels(
            self.family, data_samples, num_texts, self.num_classes, device, only_labels=False
        )

    def to_cache(self, view: BatchView) -> InteractionMaps:
        """What a cache keeps of unaugmented images: maps, or features as maps where parts compare these.

        Presence is the teacher's own: labels are the view's.
        """
        if 'maps' in self.needs and 'features' not in self.needs:
            return self.teacher.ask(view)
        return features_to_cache(cast('VLMAttentionTeacher', self.teacher), view)
