"""Loss between the interaction maps of student and teacher."""

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
    """Compare spatial maps, semantic maps and presence of student and teacher.

    - Spatial: KL divergence over locations, averaged over concepts, weighted by the teacher's presence.
    - Semantic: KL divergence over concepts, averaged over the valid locations of an image, then over images.
    - Presence: binary cross-entropy, averaged over the asked concepts.

    The first two terms are averaged over layers. A layer of the student learns from the teacher's layer of
    the same relative depth. A term is not computed if its weight is 0, or if the maps of student or teacher
    lack its direction. All terms are exactly 0 if no location is valid. The spatial term is also 0 if the
    teacher's presence of all concepts is 0. All terms are float32.

    Args:
        spatial_weight: weight of the spatial term. Defaults to 1.
        semantic_weight: weight of the semantic term. Defaults to 2.
        presence_weight: weight of the presence term. Defaults to 1.
        spatial_temperature: temperature of the teacher's softmax over locations. For the reading 'logits' the
            scores are divided by this value times their standard deviation over the image's valid locations
            (mean over all layers of the teacher and all concepts), so that one value fits any teacher. For
            'concept_softmax' they are divided by this value. Defaults to 0.67.
        semantic_temperature: divisor of the teacher's logits in the softmax over concepts. Defaults to 1.

    Raises:
        ValueError: if an argument is out of range.
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
            Weighted scalar terms, some or all of 'loss_spatial', 'loss_semantic' and 'loss_presence'.

        Raises:
            ValueError: if the maps differ in batch size, number of concepts or grid.
        """
        if student.presence.shape != teacher.presence.shape or student.valid.shape != teacher.valid.shape:
            raise ValueError(
                f"student's maps {tuple(student.logits.shape)} and teacher's {tuple(teacher.logits.shape)}, "
                '(B, L, M, H, W), must agree in B, M, H and W'
            )
        all_layers, teacher = teacher, align_maps(teacher, student)
        valid = teacher.valid
        student = replace(student, valid=valid)

        terms = {}
        directions = set(student.directions) & set(teacher.directions)
        if 'spatial' in directions and self.spatial_weight:
            temperature = self.spatial_temperature_of(replace(all_layers, valid=valid))
            log_t = teacher.spatial_log_probs(temperature)
            weight = teacher.presence * valid.flatten(1).any(1, keepdim=True)
            divergence = _spatial_divergence(student.spatial_log_probs(), log_t, weight)
            terms['loss_spatial'] = self.spatial_weight * divergence
        if 'semantic' in directions and self.semantic_weight:
            divergence = kl(
                student.semantic_log_probs(), teacher.semantic_log_probs(self.semantic_temperature), 2
            )
            terms['loss_semantic'] = self.semantic_weight * _mean_over_valid(divergence, valid)
        if self.presence_weight:
            terms['loss_presence'] = self.presence_weight * _presence_loss(student, teacher)
        return terms

    def spatial_temperature_of(self, teacher: InteractionMaps) -> float | Tensor:
        """Temperature of the teacher's softmax over locations, a number or (B, 1, 1, 1, 1).

        It is `spatial_temperature`, and for raw logits this value times their standard deviation.

        Args:
            teacher: maps of all its layers, before `align_maps`.
        """
        if teacher.spatial_logits is not None:
            return self.spatial_temperature
        return self.spatial_temperature * _standard_deviation(teacher)


def align_maps(teacher: InteractionMaps, student: InteractionMaps) -> InteractionMaps:
    """Align the teacher's layers with the student's; a location is valid if it is valid in both maps."""
    teacher = align_layers(teacher, len(student.layers))
    return replace(teacher, valid=student.valid & teacher.valid)


def align_layers(teacher: InteractionMaps, n_student: int) -> InteractionMaps:
    """Select an evenly spaced layer of the teacher for each layer of the student.

    A single layer of the teacher is not repeated: it broadcasts.
    """
    n_teacher = len(teacher.layers)
    if n_teacher in (1, n_student):
        return teacher
    return teacher.select_layers([(2 * i + 1) * n_teacher // (2 * n_student) for i in range(n_student)])


def _spatial_divergence(log_s: Tensor, log_t: Tensor, weight: Tensor) -> Tensor:
    """KL over locations of (B, L, M, H, W), mean over layers, then over concepts with weights (B, M)."""
    divergence = kl(log_s.flatten(-2), log_t.flatten(-2), -1).mean(1)  # [B, M]
    return shared_mean(divergence, weight)


def _standard_deviation(maps: InteractionMaps) -> Tensor:
    """Standard deviation over valid locations, (B, 1, 1, 1, 1).

    It is the mean over layers and over all concepts except the joint map `OTHER`.
    """
    valid = maps.valid[:, None, None].float()
    count = valid.sum((-2, -1), keepdim=True).clamp_min(1)
    mean = (maps.logits * valid).sum((-2, -1), keepdim=True) / count
    variance = ((maps.logits - mean).square() * valid).sum((-2, -1), keepdim=True) / count
    spread = variance.sqrt()  # [B, L, M, 1, 1]
    if maps.concepts is None:
        return spread.mean((1, 2), keepdim=True).clamp_min(1e-6)
    other = (maps.concepts == OTHER)[:, None, :, None, None]
    count = (~other).expand_as(spread).sum((1, 2), keepdim=True).clamp_min(1)
    return (spread.masked_fill(other, 0).sum((1, 2), keepdim=True) / count).clamp_min(1e-6)


def _mean_over_valid(x: Tensor, valid: Tensor) -> Tensor:
    """Mean of x (B, L, H, W) over layers, valid locations, then images that have any."""
    count = valid.sum((-2, -1))  # [B]
    per_image = (x.mean(1) * valid).sum((-2, -1)) / count.clamp_min(1)
    return shared_mean(per_image, count > 0)


def _presence_loss(student: InteractionMaps, teacher: InteractionMaps) -> Tensor:
    """Binary cross-entropy of presence over images with a valid location, mean over concepts but `OTHER`."""
    weights = teacher.valid.flatten(1).any(1, keepdim=True).expand_as(teacher.presence)
    if teacher.concepts is not None:
        weights = weights & (teacher.concepts != OTHER)
    weights = weights.to(teacher.presence)
    with torch.autocast(weights.device.type, enabled=False):
        # A NaN input would abort the process on a GPU. Mask it, and set the loss to NaN.
        unknown = student.presence.isnan() | teacher.presence.isnan()
        presence, target = (maps.presence.masked_fill(unknown, 0.5) for maps in (student, teacher))
        errors = F.binary_cross_entropy(presence, target, reduction='none').masked_fill(unknown, math.nan)
    return shared_mean(errors, weights)
