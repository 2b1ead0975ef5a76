"""Baseline: copy which locations of an image attend to which, whatever they show."""

from __future__ import annotations

from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.structures import ImageFeatures
from lfi.utils.options import check_weights

from .log_probabilities import kl, log_affinity

TEMPERATURE = 0.1


@MODELS.register_module()
class AttentionTransferLoss(nn.Module):
    """KL divergence from the teacher's to the student's patch-to-patch attention.

    Location i attends to location j by softmax_j(cos(f_i, f_j) / 0.1), f the last feature map (the
    pixel relations within an image of CIRKD, Yang et al., CVPR 2022, section 3.2). No text takes part. A CNN
    can be the teacher too.

    Args:
        loss_weight: 0 or more. Defaults to 1.
    """

    by_location = True
    """Whether it compares location by location."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(self, student: ImageFeatures, teacher: ImageFeatures) -> dict[str, Tensor]:
        """`loss_attention`, the weighted mean over locations and images, on the student's grid."""
        height, width = student.locations.shape[-2:]
        both = (student.locations, teacher.locations_on((height, width)))
        ours, theirs = (log_affinity(x, TEMPERATURE) for x in both)
        return {'loss_attention': self.loss_weight * kl(ours, self._target(theirs), dim=-1).mean()}

    def _target(self, theirs: Tensor) -> Tensor:
        """What the student learns from, by the teacher's log-probabilities (B, N, N)."""
        return theirs
