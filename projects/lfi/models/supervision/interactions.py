"""Learning from interactions: the method itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from lfi.models.losses import InteractionDistillLoss
from lfi.models.losses.means import RunningMean
from lfi.models.readout import InteractionReadout
from lfi.models.teachers import Teacher
from lfi.registry import MODELS, build_component
from lfi.structures import BatchView, InteractionMaps, StudentGrid, Targets, TeacherReading
from lfi.utils.options import check_dicts

from .part import StudentOutputs, SupervisionPart

# Default `contrast_weight` of the read-out by spatial reading, from a trial in research/lab_notebook.md.
CONTRAST_WEIGHT = {'logits': 0.0, 'concept_softmax': 0.9}

WEIGHTS = ('spatial_weight', 'semantic_weight', 'presence_weight')


@MODELS.register_module()
class Interactions(SupervisionPart):
    """Interaction-based supervision: spatial maps, semantic maps and presence of concepts.

    The student has one asked query for each concept that the teacher was asked about. The loss compares the
    student's interaction maps with the teacher's.

    Args:
        reading: arguments of `TeacherReading`, which reads spatial maps and presence from the teacher's
            scores. Defaults to `spatial_reading='logits'` and `presence='image'`, the teacher's answer about
            the whole image.
        loss: config of an `InteractionDistillLoss`, or of another loss that is called with the same arguments
            and has the attributes `spatial_weight`, `semantic_weight` and `presence_weight`. Defaults to an
            `InteractionDistillLoss` with its default arguments.

    Raises:
        ValueError: if an option is out of range.
    """

    teacher_outputs = frozenset({'maps'})

    def __init__(self, reading: Mapping = MappingProxyType({}), loss: Mapping = MappingProxyType({})) -> None:
        super().__init__()
        check_dicts(reading=reading)
        self.reading = TeacherReading(**reading)
        self.loss: InteractionDistillLoss = build_component('loss', loss, type='lfi.InteractionDistillLoss')
        missing = [name for name in WEIGHTS if not hasattr(self.loss, name)]
        if missing:
            raise ValueError(
                f'loss.type={type(self.loss).__name__} has no {missing[0]}: take an InteractionDistillLoss, '
                'or give the class this attribute'
            )
        spatial, semantic, presence = (
            weight > 0 for weight in (getattr(self.loss, name) for name in WEIGHTS)
        )
        if not (spatial or semantic or presence):
            raise ValueError(
                'spatial_weight, semantic_weight and presence_weight are all 0, and nothing is learnt: '
                'raise one of them, or set the part to None'
            )
        outputs = {'attention': spatial, 'concept_scores': semantic, 'presence': presence}
        self.student_outputs = frozenset(name for name, is_compared in outputs.items() if is_compared)
        self.target_varies_by_location = spatial or semantic
        # The running means that `with_means` takes.
        self.mean_names = (('spatial',) if spatial else ()) + (('semantic',) if semantic else ())
        trains_semantic_scores = semantic or presence
        weight = CONTRAST_WEIGHT[self.reading.spatial_reading] if trains_semantic_scores else 0.0
        self.readout_defaults = {'contrast_weight': weight}

    @property
    def target_needs_teacher(self) -> bool:
        """Whether the target depends on the teacher's answers about each image.

        It does not if the loss compares presence alone, and presence comes from labels alone.
        """
        return self.target_varies_by_location or (
            'presence' in self.student_outputs and self.reading.presence != 'label'
        )

    def check_teacher(self, teacher: Teacher) -> None:
        """Check that the teacher's maps have the directions that the loss compares.

        Raises:
            ValueError: if the maps lack a direction, or a softmax would run over one text only.
        """
        self.reading.check(teacher.directions)
        presence_kind = (teacher.presence_kind or '') if self.reading.presence == 'image' else ''
        if len(teacher.bank) == 1 and (presence_kind.startswith('softmax') or self.reading.compares_concepts):
            raise ValueError(
                'teacher.concepts has one text and no background beside it, and the softmax of one text is 1 '
                "in every image: give more texts, or a background, such as teacher.background=['background']"
            )
        # Without semantic maps the semantic head of the read-out would get no gradient.
        if self.loss.semantic_weight and 'semantic' not in teacher.directions:
            raise ValueError(
                'the maps of this teacher have no semantic direction: set loss.semantic_weight=0'
            )

    def target_of(self, targets: Targets, batch: BatchView, grid: StudentGrid) -> InteractionMaps:
        """Read the maps as `reading` says. Labels raise the presence of their concepts to 1."""
        assert targets.maps is not None
        return self.reading(targets.maps, batch.labels)

    def check_target(self, target: InteractionMaps) -> None:
        """Check the values of the maps, by `InteractionMaps.check`."""
        target.check()

    def with_means(
        self, target: InteractionMaps, means: Mapping[str, RunningMean], num_texts: int
    ) -> InteractionMaps:
        """Replace the maps by one mean map per concept. Each image keeps its own presence.

        The spatial map is the mean of the concept's probabilities over all views so far, weighted by the
        concept's presence in each view. The semantic map is the mean of the concept's probabilities at each
        location, over the views with a map of the concept. Of all maps that are the same for every image,
        these have the smallest loss against the images' own maps. The joint map of all other concepts
        (`OTHER`) has its own mean. All images must have the same size.
        """
        loss, changed = self.loss, target
        one_hot = _one_hot(target, num_texts)  # [B, M, C + 1]
        with torch.autocast(target.logits.device.type, enabled=False):
            if 'spatial' in means:
                present = target.presence[..., None] * one_hot
                probs = target.spatial_log_probs(loss.spatial_temperature_of(target)).exp()
                mean = _log_mean(probs, target.valid, present, one_hot, means['spatial'])
                changed = replace(changed, spatial_logits=loss.spatial_temperature * mean)
            if 'semantic' in means:
                probs = target.semantic_log_probs(loss.semantic_temperature).exp()
                mean = _log_mean(probs, target.valid, one_hot, one_hot, means['semantic'])
                changed = replace(changed, logits=loss.semantic_temperature * mean)
        return changed

    def asked_queries(self, readout: InteractionReadout, texts: Tensor, target: InteractionMaps) -> Tensor:
        """Initial queries of the concepts that the teacher was asked about, (B, M, C) or (M, C)."""
        return readout.asked_queries(texts, target.concepts)

    def forward(self, outputs: StudentOutputs, target: InteractionMaps) -> dict[str, Tensor]:
        """Compute the terms of the loss."""
        assert outputs.readout is not None and outputs.texts is not None
        terms: dict[str, Tensor] = self.loss(outputs.readout(outputs.states, outputs.texts, target), target)
        return terms


def _one_hot(maps: InteractionMaps, num_texts: int) -> Tensor:
    """One-hot concept of each map, (B, M, C + 1); the last column is the joint map `OTHER`."""
    concepts = maps.concepts
    if concepts is None:
        concepts = torch.arange(num_texts, device=maps.logits.device).expand(len(maps.logits), -1)
    # OTHER is -1, so its remainder is C, the last column. `F.one_hot` would wait for the device.
    columns = torch.arange(num_texts + 1, device=concepts.device)
    return (concepts.remainder(num_texts + 1)[..., None] == columns).float()


def _log_mean(
    probs: Tensor, valid: Tensor, weight: Tensor, one_hot: Tensor, running_mean: RunningMean
) -> Tensor:
    """Add maps to the running means of their concepts, and return the log means, (B, L, M, H, W).

    Args:
        probs: (B, L, M, H, W), probabilities.
        valid: (B, H, W) bool, valid locations.
        weight: (B, M, C + 1), weight of each map in the mean of each concept.
        one_hot: (B, M, C + 1), one-hot concept of each map.
        running_mean: running mean of the concepts' maps, (L, C + 1, H, W).
    """
    mask = valid.float()
    running_mean.add(
        torch.einsum('bmc,blmhw,bhw->lchw', weight, probs, mask),
        torch.einsum('bmc,bhw->chw', weight, mask),
    )
    # A concept that was never present has mean 0, and no weight in the loss.
    return torch.einsum('bmc,lchw->blmhw', one_hot, running_mean.mean.clamp_min(1e-12).log())
