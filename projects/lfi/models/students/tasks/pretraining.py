"""A backbone alone, without a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lfi.models.students.predict_by import pooled
from lfi.structures import BatchView

from .classification import add_score_check
from .task import Task


class Pretraining(Task):
    """A backbone that learns from images without labels, by mmpretrain's `ImageClassifier` without a head.

    Labels are never read, even where the data set has them. Any model of OpenMMLab with such a backbone
    begins with the checkpoint by `init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`.
    """

    provides = frozenset({'vector'})
    reads_labels = False
    predicts_by = 'lfi.ByFeatures'

    def set_up(self, student: Any) -> None:
        """Refuse what would learn nothing.

        Raises:
            ValueError: if there is a neck or a head.
        """
        add_score_check(student.data_preprocessor)
        for name in ('neck', 'head'):
            part = getattr(student, name)
            if part is not None:
                raise ValueError(
                    f'{name}={type(part).__name__} would learn nothing without a task: set {name}=None, or '
                    "name the task, as task='mmpretrain.ImageClassifier'"
                )

    def check_training(self, student: Any) -> None:
        """Check that some supervision part learns."""
        if not student.learnt:
            raise ValueError(
                'supervision teaches the backbone nothing, and there is no task: give a part with a weight '
                "above 0, as supervision=dict(interactions=dict(type='lfi.Interactions')), or model.task"
            )

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """No image has a label: zeros (B, C)."""
        return torch.zeros(len(data_samples), num_concepts, device=device)

    def loss(
        self,
        student: Any,
        own: Callable[..., dict[str, Any]],
        view: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """No loss of a task's own, and the backbone's features."""
        features: Sequence[Tensor] = student.extract_feat(view.inputs)
        return {}, features

    def vector(self, features: Sequence[Tensor]) -> Tensor:
        """The last of the features, pooled over locations."""
        return pooled(features[-1])
