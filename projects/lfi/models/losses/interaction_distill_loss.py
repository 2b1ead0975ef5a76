"""The interaction-based supervision: student's against teacher's maps."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.structures import OTHER, InteractionMaps
from lfi.utils.options import check_positive, check_weights

from .log_probabilities import kl
from .means import shared_mean


@MODELS.register_module()
class InteractionDistillLoss(nn.Module):
    """Compares the student's `InteractionMaps` with the teacher's: every direction both have, and presence.

    Over locations each concept's divergence is weighted by its presence in the teacher's maps; over
    concepts the divergence is averaged over the valid locations of an image, then over images. Both are
    averaged over layers: each of the student's learns from the teacher's layer of the same relative depth.
    Presence is compared concept by concept (binary cross-entropy), mean over the concepts asked about. A
    term of weight 0 is not computed. Where nothing is present or valid a term is exactly zero. All is in
    float32.

    Args:
        spatial_weight: weight of the spatial term. Defaults to 1.
        semantic_weight: weight of the semantic term. Defaults to 2.
        presence_weight: weight of the presence term. Defaults to 1.
        spatial_temperature: divides the teacher's scores over locations. Those that are read as they are
            (`logits`) it divides in units of their standard deviation over an image's valid locations, mean
            over the concepts asked about, so that it fits any teacher; log-probabilities
            (`InteractionMaps.concept_softmax`) need no unit. Defaults to 0.67.
        semantic_temperature: divides the teacher's logits over concepts. Defaults to 1.

    Raises:
        ValueError: if an argument is out of its range; the message names it and its value.
    """

    def __init__(
        self,
        spatial_weight: float = 1.0,
        semantic_weight: float = 2.0,
        presence_weight: float = 1.0,
        spatial_temperature: float = 0.67,
        semantic_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_weights(
            spatial_weight=spatial_weight,
            semantic_weight=semantic_weight,
            presence_weight=presence_weight,
        )
        check_positive(spatial_temperature=spatial_temperature, semantic_temperature=semantic_temperature)
        self.spatial_weight = spatial_weight
        self.semantic_weight = semantic_weight
        self.presence_weight = presence_weight
        self.spatial_temperature = spatial_temperature
        self.semantic_temperature = semantic_temperature

    def forward(self, student: InteractionMaps, teacher: InteractionMaps) -> dict[str, Tensor]:
        """Compare maps of the same concepts on the same grid.

        Returns:
            The weighted terms, of 'loss_spatial', 'loss_semantic' and 'loss_presence', scalars.

        Raises:
            ValueError: if the maps differ in batch, concepts or grid.
        """
        if student.presence.shape != teacher.presence.shape or student.valid.shape != teacher.valid.shape:
            raise ValueError(
                f"student's maps {tuple(student.logits.shape)} and teacher's {tuple(teacher.logits.shape)}, "
                '(B, L, M, H, W), must agree in B, M, H and W'
            )
        teacher = aligned(teacher, student)
        valid = teacher.valid
        student = replace(student, valid=valid)

        terms = {}
        directions = set(student.directions) & set(teacher.directions)
        if 'spatial' in directions and self.spatial_weight:
            log_t = teacher.spatial_log_probs(self.spatial_scale(teacher))
            weight = teacher.presence * valid.flatten(1).any(1, keepdim=True)
            divergence = _spatial_divergence(student.spatial_log_probs(), log_t, weight)
            terms['loss_spatial'] = self.spatial_weight * divergence
        if 'semantic' in directions and self.semantic_weight:
            divergence = kl(
                student.semantic_log_probs(), teacher.semantic_log_probs(self.semantic_temperature), 2
            )
            terms['loss_semantic'] = self.semantic_weight * _mean_over_valid(divergence, valid)
        if self.presence_weight:
            terms['loss_presence'] = self.presence_weight * _presence(student, teacher)
        return terms

    def spatial_scale(self, teacher: InteractionMaps) -> float | Tensor:
        """What divides the teacher's scores over locations, for `InteractionMaps.spatial_log_probs`."""
        if teacher.spatial_logits is not None:
            return self.spatial_temperature
        return self.spatial_temperature * _spread(teacher)


def aligned(teacher: InteractionMaps, student: InteractionMaps) -> InteractionMaps:
    """The teacher's maps as they are compared: a layer for each of the student's, valid where both are."""
    aligned_layers = align_layers(teacher, len(student.layers))
    return replace(aligned_layers, valid=student.valid & teacher.valid)


def align_layers(teacher: InteractionMaps, n_student: int) -> InteractionMaps:
    """A layer of the teacher for each of the student: one to one for equal counts, else evenly spaced.

    A single layer of the teacher stays one.
    """
    n_teacher = len(teacher.layers)
    if n_teacher in (1, n_student):
        # A single layer broadcasts.
        return teacher
    return teacher.select_layers([(2 * i + 1) * n_teacher // (2 * n_student) for i in range(n_student)])


def _spatial_divergence(log_s: Tensor, log_t: Tensor, weight: Tensor) -> Tensor:
    """Divergence of the maps (B, L, M, H, W), mean over layers, then over concepts by their weight (B, M)."""
    divergence = kl(log_s.flatten(-2), log_t.flatten(-2), -1).mean(1)  # [B, M]
    return shared_mean(divergence, weight)


def _spread(maps: InteractionMaps) -> Tensor:
    """Standard deviation over valid locations, mean over layers and named concepts: (B, 1, 1, 1, 1)."""
    valid = maps.valid[:, None, None].float()
    count = valid.sum((-2, -1), keepdim=True).clamp_min(1)
    mean = (maps.logits * valid).sum((-2, -1), keepdim=True) / count
    variance = ((maps.logits - mean).square() * valid).sum((-2, -1), keepdim=True) / count
    spread = variance.sqrt()  # [B, L, M, 1, 1]
    if maps.concepts is None:
        return spread.mean((1, 2), keepdim=True).clamp_min(1e-6)
    rest = (maps.concepts == OTHER)[:, None, :, None, None]
    named = (~rest).expand_as(spread).sum((1, 2), keepdim=True).clamp_min(1)
    return (spread.masked_fill(rest, 0).sum((1, 2), keepdim=True) / named).clamp_min(1e-6)


def _mean_over_valid(x: Tensor, valid: Tensor) -> Tensor:
    """Mean over layers, an image's valid locations, and the images that have any; x is (B, L, H, W)."""
    count = valid.sum((-2, -1))  # [B]
    per_image = (x.mean(1) * valid).sum((-2, -1)) / count.clamp_min(1)
    return shared_mean(per_image, count > 0)


def _presence(student: InteractionMaps, teacher: InteractionMaps) -> Tensor:
    """Binary cross-entropy of presence, mean over the concepts that pictures of something are asked about."""
    named = teacher.valid.flatten(1).any(1, keepdim=True).expand_as(teacher.presence)
    if teacher.concepts is not None:
        named = named & (teacher.concepts != OTHER)
    named = named.to(teacher.presence)
    with torch.autocast(named.device.type, enabled=False):
        # NaN is an error there, which stops a GPU; here it is the loss's, as in the other terms.
        unknown = student.presence.isnan() | teacher.presence.isnan()
        presence, target = (maps.presence.masked_fill(unknown, 0.5) for maps in (student, teacher))
        errors = F.binary_cross_entropy(presence, target, reduction='none').masked_fill(unknown, math.nan)
    return shared_mean(errors, named)
