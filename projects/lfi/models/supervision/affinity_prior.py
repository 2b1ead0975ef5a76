"""Prior on the affinity of patch tokens, for students trained from scratch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lfi.models.losses.log_probabilities import log_affinity
from lfi.models.losses.means import shared_mean
from lfi.registry import MODELS
from lfi.utils.options import check_weights

from .part import StudentOutputs, SupervisionPart

# With fixed odds, and not a fixed probability, the target's mean cosine, 1 - TEMPERATURE * ln(SELF_ODDS), is
# the same for any number of locations. On a grid of 8 x 8 the probability is 0.31.
SELF_ODDS = 28.3
# In units of the geometric mean of the grid's height and width, so that the target covers the same part of
# the image for any patch size. On a grid of 8 x 8 the reach is 4.4 patches.
REACH = 0.55
TEMPERATURE = 0.1


@MODELS.register_module()
class AffinityPrior(SupervisionPart):
    """KL divergence from a fixed affinity of locations to the affinity of the student's patch tokens.

    The patch tokens of a ViT that is trained from scratch on few images become alike. This loss keeps them
    apart. The affinity of location i for itself is 28.3 times its mean affinity for another location, and its
    affinity for location j is proportional to exp(-d_ij / (0.55 * side)): d_ij is the distance of i and j,
    and side the geometric mean of the grid's height and width, in patches. The student's affinity is
    softmax_j(cos(f_i, f_j) / 0.1), as in `PairwiseAffinity`. The target is the same for every image and needs
    no teacher: it is an inductive bias. In a comparison, all arms must have it, or none.

    Related work:

    - Gram anchoring (Siméoni et al., "DINOv3", 2025, section 4) holds the patches' cosines to those of an
      earlier state of the model.
    - Losses for diverse patches (Gong et al., "Vision Transformers with Patch Diversification", 2021) push
      the patches of an image apart, at any distance.
    - Uniformity on the hypersphere (Wang and Isola, ICML 2020) pushes images apart.
    - CIRKD (Yang et al., CVPR 2022, section 3.2) learns the same affinities of locations from a teacher.

    The constants 28.3 (odds) and 0.55 (reach) are fitted to the mean affinity of the built-in Shapes teacher
    on a grid of 8 x 8. On grids of 12 x 12 and 16 x 16 the teacher has odds of 32 and 20, and a reach of 0.4;
    the probability of a location itself falls from 0.31 to 0.07.

    Time and memory grow with the square of the number of locations.

    Args:
        loss_weight: weight of the loss, 0 or more. Defaults to 2.

    Raises:
        ValueError: if `loss_weight` is negative.
    """

    student_outputs = frozenset({'locations'})

    _cached: tuple[tuple[tuple[int, int], torch.device], Tensor] | None = None

    def __init__(self, loss_weight: float = 2.0) -> None:
        super().__init__()
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(self, outputs: StudentOutputs, target: Any = None) -> dict[str, Tensor]:
        """Compare the patch tokens of the last supervised layer with the prior."""
        states = outputs.states
        valid = None if states.valid is None else states.valid.unflatten(1, states.grid)
        return self.compare(states.locations(), valid)

    def compare(self, locations: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
        """Compare the affinities of patch tokens with the prior.

        Args:
            locations: (B, C, H, W), patch tokens.
            valid: (B, H, W) bool, locations that show some of their image. Defaults to None: all are valid.

        Returns:
            `loss_prior`, the weighted mean over valid locations, then over images that have any.
        """
        b, _, *grid = locations.shape
        log_student = log_affinity(locations, TEMPERATURE, valid)
        target = self.affinity((grid[0], grid[1]), locations.device)
        if valid is None:
            weights = locations.new_ones(b, grid[0] * grid[1], dtype=torch.float32)
        else:
            columns = valid.flatten(1)[:, None]  # [B, 1, N]
            target = self._restrict(target, columns)
            log_student = log_student.masked_fill(~columns, 0)
            weights = valid.flatten(1).float()
        divergence = (torch.xlogy(target, target) - target * log_student).sum(-1)  # [B, N]
        count = weights.sum(1)
        per_image = (divergence * weights).sum(1) / count.clamp_min(1)
        return {'loss_prior': self.loss_weight * shared_mean(per_image, count > 0)}

    def affinity(self, grid: tuple[int, int], device: torch.device | str = 'cpu') -> Tensor:
        """Target affinities of an (H, W) grid, (H * W, H * W) on the device; each row sums to 1.

        The affinities of the latest grid and device are cached.
        """
        key = grid, torch.device(device)
        if self._cached is None or self._cached[0] != key:
            self._cached = key, self._compute_affinity(grid, key[1])
        return self._cached[1]

    @torch.no_grad()
    def _compute_affinity(self, grid: tuple[int, int], device: torch.device) -> Tensor:
        side = (grid[0] * grid[1]) ** 0.5
        n = grid[0] * grid[1]
        index = torch.arange(n, device=device)
        row, column = index // grid[1], index % grid[1]
        down, across = row[:, None] - row, column[:, None] - column
        distance = torch.hypot(down.float(), across.float())
        weights = torch.exp(-distance / (REACH * side)).fill_diagonal_(0)
        return self._normalise(weights, torch.eye(n, device=device), torch.full((1, 1), n, device=device))

    def _restrict(self, target: Tensor, columns: Tensor) -> Tensor:
        """Restrict affinities (N, N) to valid columns (B, 1, N): (B, N, N), whose rows sum to 1."""
        identity = torch.eye(len(target), device=target.device)
        return self._normalise(target * (1 - identity) * columns, identity, columns.sum(-1, keepdim=True))

    def _normalise(self, weights: Tensor, identity: Tensor, count: Tensor) -> Tensor:
        """Scale rows to sum 1: a location itself gets SELF_ODDS times the mean of the `count - 1` others."""
        total = weights.sum(-1, keepdim=True)
        other = weights / total.clamp_min(torch.finfo(weights.dtype).tiny) * (count - 1)
        row = SELF_ODDS * identity + other
        return row / row.sum(-1, keepdim=True)
