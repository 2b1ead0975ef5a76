"""Baseline: copy the teacher's features of every location."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.structures import ImageFeatures
from lfi.utils.options import check_weights

from .means import ChannelStandardisation


@MODELS.register_module()
class DenseFeaturesLoss(nn.Module):
    """Half of 1 - cosine and half of the smooth L1 distance to the teacher's standardised features.

    The two distances and their weights are those of DUNE (Sariyildiz et al., CVPR 2025); AM-RADIO (Ranzinger
    et al., CVPR 2024) and Theia (Shang et al., CoRL 2024) take the same two, 0.9 and 0.1. A two-layer
    perceptron, as UNIC's (Sariyildiz et al., ECCV 2024), maps the student's tokens to the teacher's width.

    Args:
        student_dims: width of the student's tokens.
        teacher_dims: width of the teacher's features.
        loss_weight: 0 or more. Defaults to 1.
    """

    by_location = True
    """Whether it compares location by location."""

    def __init__(self, student_dims: int, teacher_dims: int, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight
        self.standardise = ChannelStandardisation(teacher_dims)
        # Tokens come before the backbone's last norm.
        self.head = nn.Sequential(
            nn.LayerNorm(student_dims),
            nn.Linear(student_dims, teacher_dims),
            nn.GELU(),
            nn.Linear(teacher_dims, teacher_dims),
        )

    def forward(self, student: ImageFeatures, teacher: ImageFeatures) -> dict[str, Tensor]:
        """`loss_cosine` and `loss_smooth_l1`, the weighted means over locations, on the student's grid."""
        height, width = student.locations.shape[-2:]
        return self.compare(student.locations, teacher.locations_on((height, width)))

    def compare(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """As a call, of the locations (B, C, H, W) on one grid alone."""
        theirs = self.standardise(_tokens(teacher))  # [B, N, C]
        ours = self.head(_tokens(student)).float()
        half = self.loss_weight / 2
        return {
            'loss_cosine': half * (1 - F.cosine_similarity(ours, theirs, dim=-1)).mean(),
            'loss_smooth_l1': half * F.smooth_l1_loss(ours, theirs),
        }


def _tokens(locations: Tensor) -> Tensor:
    """(B, N, C) from (B, C, H, W)."""
    return locations.flatten(2).mT
