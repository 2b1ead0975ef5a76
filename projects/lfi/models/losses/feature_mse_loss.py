"""Baseline: copy the teacher's image embedding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.structures import ImageFeatures
from lfi.utils.options import check_weights


@MODELS.register_module()
class FeatureMSELoss(nn.Module):
    """Squared distance between the projected student's vector and the teacher's, both of unit length.

    (CLIP-KD, Yang et al., CVPR 2024, section 3.2: feature distillation.) The distance is summed over the
    dimensions: 0 to 4.

    Args:
        student_dims: width of the student's pooled features.
        teacher_dims: width of the teacher's.
        loss_weight: 0 or more. Defaults to 1.
    """

    by_location = False
    """Whether it compares location by location."""

    def __init__(self, student_dims: int, teacher_dims: int, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight
        self.projection = nn.Linear(student_dims, teacher_dims)

    def forward(self, student: ImageFeatures, teacher: ImageFeatures) -> dict[str, Tensor]:
        """`loss_feature`, the weighted mean over the batch."""
        ours = F.normalize(self.projection(student.pooled).float(), dim=-1)
        theirs = F.normalize(teacher.pooled.float(), dim=-1)
        return {'loss_feature': self.loss_weight * (ours - theirs).square().sum(-1).mean()}
