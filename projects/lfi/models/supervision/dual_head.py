"""Baseline: a second head copies the teacher's class probabilities."""

from __future__ import annotations

from torch import Tensor, nn

from lfi.registry import MODELS

from .logit_kd import ClassProbabilityKD
from .part import StudentOutputs, StudentWidths, vector_of


@MODELS.register_module()
class DualHead(ClassProbabilityKD):
    """KL divergence from the teacher's class probabilities to those of a second linear head.

    (DHO; Kang et al., "Simple yet Effective Semi-supervised Knowledge Distillation from Vision-Language
    Models via Dual-Head Optimization", arXiv 2505.07675.) Both heads read the pooled vector, and the task's
    head learns from labels alone. The student predicts by both with
    `predict_by=dict(type='lfi.ByMixture', second=dict(type='lfi.ByDualHead'))`.

    Args and errors: see `ClassProbabilityKD`. A student without classes has no second head: a ValueError.
    """

    student_outputs = frozenset({'vector'})

    head: nn.Linear

    def check_head(self, head: nn.Module | None) -> None:
        """Refuse a student without classes, and a multi-label head.

        Raises:
            ValueError: if there is no head of classes.
        """
        if getattr(head, 'num_classes', None) is None:
            raise ValueError('lfi.DualHead needs a classifier, whose head has num_classes: drop the part')
        super().check_head(head)

    def build_heads(self, widths: StudentWidths) -> None:
        """Build the second head."""
        assert widths.classes is not None
        self.head = nn.Linear(widths.vector, widths.classes)

    def scores(self, vector: Tensor) -> Tensor:
        """Compute the second head's class logits (B, K) from pooled vectors (B, D)."""
        scores: Tensor = self.head(vector)
        return scores

    def forward(self, outputs: StudentOutputs, target: Tensor) -> dict[str, Tensor]:
        """Compute `loss_dual_head`, the weighted mean over the batch."""
        vector = vector_of(outputs, self.head.in_features)
        return {'loss_dual_head': self.divergence(self.scores(vector), target)}
