"""Baseline: copy the teacher's affinity between the locations of an image."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lfi.models.losses.log_probabilities import kl, log_affinity
from lfi.models.losses.means import RunningMean
from lfi.registry import MODELS
from lfi.structures import BatchView, StudentGrid, Targets
from lfi.utils.options import check_weights

from .part import StudentOutputs, SupervisionPart, updated_mean

TEMPERATURE = 0.1


@MODELS.register_module()
class PairwiseAffinity(SupervisionPart):
    """KL divergence from the teacher's to the student's affinity of locations.

    The affinity of location i for location j is softmax_j(cos(f_i, f_j) / 0.1), where f is the last feature
    map (CIRKD, Yang et al., CVPR 2022, section 3.2: pixel relations within an image). It reads no text, and
    the teacher may be a CNN.

    Args:
        loss_weight: weight of the loss, 0 or more. Defaults to 1.
    """

    teacher_outputs = frozenset({'features'})
    student_outputs = frozenset({'locations'})
    target_varies_by_location = True
    mean_names = ('affinity',)

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def target_of(self, targets: Targets, batch: BatchView, grid: StudentGrid) -> Tensor:
        """Compute the logarithm of the teacher's affinities, (B, N, N).

        Raises:
            ValueError: if images are padded, or end within a location.
        """
        batch.refuse_padding()
        grid.refuse_overhang(batch.size)
        assert targets.features is not None
        return log_affinity(targets.features.locations, TEMPERATURE)

    def with_means(self, target: Tensor, means: Mapping[str, RunningMean], num_texts: int) -> Tensor:
        """Replace the affinities by their mean over all images so far."""
        return updated_mean(target.exp(), means['affinity']).log().expand_as(target)

    def forward(self, outputs: StudentOutputs, target: Tensor) -> dict[str, Tensor]:
        """Compute `loss_affinity`, the weighted mean over locations and images."""
        log_student = log_affinity(outputs.states.locations(), TEMPERATURE)
        return {'loss_affinity': self.loss_weight * kl(log_student, target, dim=-1).mean()}
