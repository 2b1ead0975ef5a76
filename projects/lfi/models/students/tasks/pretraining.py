"""Pretraining of a backbone without a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lfi.models.backbones import InteractionQueryViT
from lfi.models.students.predict_by import pool
from lfi.structures import BatchView

from .classification import add_score_check
from .task import Task


class Pretraining(Task):
    """Backbone that learns from images alone: mmpretrain's `ImageClassifier` without a head.

    Labels are never read. Any model of OpenMMLab with the same backbone can start from the checkpoint, by
    `init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`.
    """

    provides = frozenset({'vector'})
    reads_labels = False
    default_predict_by = 'lfi.ByFeatures'

    def set_up(self, student: Any) -> None:
        """Refuse a neck and a head, which would learn nothing.

        Raises:
            ValueError: if the student has a neck or a head.
        """
        add_score_check(student.data_preprocessor)
        for name in ('neck', 'head'):
            module = getattr(student, name)
            if module is not None:
                raise ValueError(
                    f'{name}={type(module).__name__} would learn nothing without a task: set {name}=None, or '
                    "name the task, as task='mmpretrain.ImageClassifier'"
                )

    def check_training(self, student: Any) -> None:
        """Check that supervision parts with weights above 0 train the backbone, and its last layer too."""
        if not student.trained_outputs:
            raise ValueError(
                'supervision teaches the backbone nothing, and there is no task: give a part with a weight '
                "above 0, as supervision=dict(interactions=dict(type='lfi.Interactions')), or model.task"
            )
        if 'vector' not in student.trained_outputs:
            # The pooled vector depends on all layers; the other outputs depend on the recorded ones.
            try:
                student.backbone.check_last_layer_recorded()
            except ValueError as error:
                raise ValueError(
                    f'backbone.{error}. There is no task, so no loss would train what follows'
                ) from error
        if student.trained_outputs == {'attention'} and isinstance(student.backbone, InteractionQueryViT):
            name = next(name for name, part in student.parts.items() if part.learns)
            raise ValueError(
                f'supervision.{name} reads attention alone, which trains nothing after the attention of the '
                "backbone's last block, so that weight decay alone would change the features: set "
                f'supervision.{name}.loss.semantic_weight or presence_weight above 0, or add a part that '
                "reads locations, as supervision.prior=dict(type='lfi.AffinityPrior')"
            )

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """Return zeros (B, C): no image has a label."""
        return torch.zeros(len(data_samples), num_concepts, device=device)

    def loss(
        self,
        student: Any,
        task_loss: Callable[..., dict[str, Any]],
        batch: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """Return no task loss, and the features of the backbone."""
        features: Sequence[Tensor] = student.extract_feat(batch.inputs)
        return {}, features

    def vector(self, features: Sequence[Tensor]) -> Tensor:
        """Pool the last features over locations."""
        return pool(features[-1])
