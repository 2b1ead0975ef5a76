"""Baseline: copy the teacher's image embedding."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from lfi.models.losses.means import RunningMean
from lfi.models.teachers import Teacher
from lfi.registry import MODELS
from lfi.structures import BatchView, StudentGrid, Targets
from lfi.utils.options import check_weights, check_widths

from .part import StudentOutputs, StudentWidths, SupervisionPart, check_teacher_dims, updated_mean, vector_of


@MODELS.register_module()
class FeatureMSE(SupervisionPart):
    """Squared distance between the student's projected vector and the teacher's, both of unit length.

    (CLIP-KD, Yang et al., CVPR 2024, section 3.2: feature distillation.) The distance is summed over the
    dimensions, and lies in [0, 4].

    Args:
        loss_weight: weight of the loss, 0 or more. Defaults to 1.
        student_dims: width of the student's pooled vector. Defaults to None: the head's `in_channels`, or
            without a head the width of the tokens.
        teacher_dims: width of the teacher's embedding. Defaults to None: the width of its text space.
    """

    teacher_outputs = frozenset({'features'})
    student_outputs = frozenset({'vector'})
    mean_names = ('embedding',)

    projection: nn.Linear

    def __init__(
        self,
        loss_weight: float = 1.0,
        student_dims: int | None = None,
        teacher_dims: int | None = None,
    ) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        check_widths(student_dims=student_dims, teacher_dims=teacher_dims)
        self.loss_weight = loss_weight
        self.student_dims = student_dims
        self.teacher_dims = teacher_dims

    def build_heads(self, widths: StudentWidths) -> None:
        """Build the projection."""
        dims = widths.texts() if self.teacher_dims is None else self.teacher_dims
        self.projection = nn.Linear(widths.vector if self.student_dims is None else self.student_dims, dims)

    def check_teacher(self, teacher: Teacher) -> None:
        """Check `teacher_dims`."""
        check_teacher_dims(self.teacher_dims, teacher)

    def target_of(self, targets: Targets, batch: BatchView, grid: StudentGrid) -> Tensor:
        """Normalise the teacher's embeddings of the images, (B, E).

        Raises:
            ValueError: if images are padded.
        """
        batch.refuse_padding()
        assert targets.features is not None
        return F.normalize(targets.features.pooled.float(), dim=-1)

    def with_means(self, target: Tensor, means: Mapping[str, RunningMean], num_texts: int) -> Tensor:
        """Replace the embeddings by their mean over all images so far."""
        return updated_mean(target, means['embedding']).expand_as(target)

    def forward(self, outputs: StudentOutputs, target: Tensor) -> dict[str, Tensor]:
        """Compute `loss_feature`, the weighted mean over the batch."""
        vector = vector_of(outputs, self.projection.in_features)
        embedding = F.normalize(self.projection(vector).float(), dim=-1)
        return {'loss_feature': self.loss_weight * (embedding - target).square().sum(-1).mean()}
