"""Baseline: copy the teacher's features of every location."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from lfi.models.losses.means import ChannelStandardisation, RunningMean
from lfi.models.teachers import Teacher
from lfi.registry import MODELS
from lfi.structures import BatchView, StudentGrid, Targets
from lfi.utils.options import check_weights, check_widths

from .part import StudentOutputs, StudentWidths, SupervisionPart, check_teacher_dims, updated_mean


@MODELS.register_module()
class DenseFeatures(SupervisionPart):
    """Half of (1 - cosine) plus half of the smooth L1 distance to the teacher's standardised features.

    The two distances and their weights are those of DUNE (Sariyildiz et al., CVPR 2025). AM-RADIO (Ranzinger
    et al., CVPR 2024) and Theia (Shang et al., CoRL 2024) use the weights 0.9 and 0.1. A two-layer
    perceptron, as in UNIC (Sariyildiz et al., ECCV 2024), maps the student's tokens to the teacher's width.

    Args:
        loss_weight: weight of the loss, 0 or more. Defaults to 1.
        teacher_dims: width of the teacher's features. Defaults to None: the width of its text space.
    """

    teacher_outputs = frozenset({'features'})
    student_outputs = frozenset({'locations'})
    target_varies_by_location = True
    mean_names = ('features',)

    standardise: ChannelStandardisation
    head: nn.Sequential

    def __init__(self, loss_weight: float = 1.0, teacher_dims: int | None = None) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        check_widths(teacher_dims=teacher_dims)
        self.loss_weight = loss_weight
        self.teacher_dims = teacher_dims

    def build_heads(self, widths: StudentWidths) -> None:
        """Build the perceptron and the statistics of the teacher's channels."""
        dims = widths.texts() if self.teacher_dims is None else self.teacher_dims
        self.standardise = ChannelStandardisation(dims)
        # Tokens are recorded before the backbone's last norm.
        self.head = nn.Sequential(
            nn.LayerNorm(widths.tokens),
            nn.Linear(widths.tokens, dims),
            nn.GELU(),
            nn.Linear(dims, dims),
        )

    def check_teacher(self, teacher: Teacher) -> None:
        """Check `teacher_dims`."""
        check_teacher_dims(self.teacher_dims, teacher)

    def target_of(self, targets: Targets, batch: BatchView, grid: StudentGrid) -> Tensor:
        """Standardise the teacher's features of each location, (B, N, E).

        Raises:
            ValueError: if images are padded, or end within a location.
        """
        batch.refuse_padding()
        grid.refuse_overhang(batch.size)
        assert targets.features is not None
        return self.standardise(_tokens(targets.features.locations))

    def with_means(self, target: Tensor, means: Mapping[str, RunningMean], num_texts: int) -> Tensor:
        """Replace the features by their mean over all images so far, (1, N, E) for each."""
        return updated_mean(target, means['features']).expand_as(target)

    def forward(self, outputs: StudentOutputs, target: Tensor) -> dict[str, Tensor]:
        """Compute `loss_cosine` and `loss_smooth_l1`, weighted means over locations."""
        features = self.head(_tokens(outputs.states.locations())).float()
        half = self.loss_weight / 2
        return {
            'loss_cosine': half * (1 - F.cosine_similarity(features, target, dim=-1)).mean(),
            'loss_smooth_l1': half * F.smooth_l1_loss(features, target),
        }


def _tokens(locations: Tensor) -> Tensor:
    """Flatten a feature map (B, C, H, W) to tokens (B, N, C)."""
    return locations.flatten(2).mT
