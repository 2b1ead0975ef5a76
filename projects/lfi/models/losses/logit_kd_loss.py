"""Baseline: copy the teacher's class probabilities."""

from __future__ import annotations

from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.structures import ImageFeatures
from lfi.utils.options import check_positive, check_weights

from .log_probabilities import kl


@MODELS.register_module()
class LogitKDLoss(nn.Module):
    """KL divergence from the teacher's to the student's class probabilities at a temperature.

    (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2.) The teacher's scores are
    its zero-shot logits. The loss is multiplied by the squared temperature, as there.

    Args:
        temperature: T, divides both models' logits. Defaults to 2.
        loss_weight: 0 or more. Defaults to 1.
    """

    by_location = False
    """Whether it compares location by location."""

    def __init__(self, temperature: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(self, student: ImageFeatures, teacher: ImageFeatures) -> dict[str, Tensor]:
        """`loss_logits`, the weighted mean over the batch."""
        return self.compare(student.scores, teacher.scores)

    def compare(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """As a call, of the logits (B, K) alone."""
        ours, theirs = ((scores.float() / self.temperature).log_softmax(-1) for scores in (student, teacher))
        divergence = kl(ours, theirs, dim=-1).mean()
        return {'loss_logits': self.loss_weight * self.temperature**2 * divergence}
