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
from lfi.registry import MODELS, build_part
from lfi.structures import BatchView, InteractionMaps, StudentGrid, Targets, TeacherReading
from lfi.utils.options import check_options

from .part import StudentOutputs, SupervisionPart

# Of the read-out, by how the teacher's locations are read; docs/lab_notebook.md says how this was chosen.
CONTRAST_WEIGHT = {'logits': 0.0, 'concept_softmax': 0.9}

WEIGHTS = ('spatial_weight', 'semantic_weight', 'presence_weight')


@MODELS.register_module()
class Interactions(SupervisionPart):
    """Interaction-based supervision: where each concept is, which concept is where, and whether it is there.

    The student is asked about the concepts that the teacher was asked about, one query for each. Its
    interaction maps are compared with the teacher's.

    Args:
        reading: arguments of the `TeacherReading`: how locations and presence are read from the teacher's
            maps. Defaults to its own: scores, and presence by the pooled image.
        loss: config of an `InteractionDistillLoss`, or of a loss with the same call and weights. Defaults to
            its own.

    Raises:
        ValueError: if an option is out of its range.
    """

    needs = frozenset({'maps'})

    def __init__(self, reading: Mapping = MappingProxyType({}), loss: Mapping = MappingProxyType({})) -> None:
        super().__init__()
        check_options(reading=reading)
        self.reading = TeacherReading(**reading)
        self.loss: InteractionDistillLoss = build_part('loss', loss, type='lfi.InteractionDistillLoss')
        lacking = [name for name in WEIGHTS if not hasattr(self.loss, name)]
        if lacking:
            raise ValueError(
                f'loss.type={type(self.loss).__name__} has no {lacking[0]}: take an InteractionDistillLoss, '
                'or a class that inherits from it'
            )
        spatial, semantic, presence = (
            weight > 0 for weight in (getattr(self.loss, name) for name in WEIGHTS)
        )
        if not (spatial or semantic or presence):
            raise ValueError(
                'spatial_weight, semantic_weight and presence_weight are all 0, and nothing is learnt: '
                'raise one of them, or switch the part off by None'
            )
        read = {'attention': spatial, 'concept_scores': semantic, 'presence': presence}
        self.reads = frozenset(name for name, is_read in read.items() if is_read)
        self.compares_locations = spatial or semantic
        self.averages = (('spatial',) if spatial else ()) + (('semantic',) if semantic else ())
        compares = semantic or presence
        self.readout_defaults = {
            'contrast_weight': CONTRAST_WEIGHT[self.reading.spatial_reading] if compares else 0.0
        }

    @property
    def differs_by_image(self) -> bool:
        """Whether the loss compares more than presence by labels alone, which a teacher does not change."""
        return self.compares_locations or ('presence' in self.reads and self.reading.presence != 'label')

    def check_teacher(self, teacher: Teacher) -> None:
        """Check that the teacher's maps can be read so, and have what the loss compares.

        Raises:
            ValueError: if they do not.
        """
        self.reading.check(teacher.directions)
        own = (teacher.own_presence or '') if self.reading.presence == 'image' else ''
        if len(teacher.bank) == 1 and (own.startswith('softmax') or self.reading.compares_concepts):
            raise ValueError(
                'teacher.concepts has one text and no background beside it, and a softmax finds it in every '
                "image: give more texts, or what is there where it is not, teacher.background=['background']"
            )
        # Without the teacher's maps over concepts that head of the read-out would get no gradient.
        if self.loss.semantic_weight and 'semantic' not in teacher.directions:
            raise ValueError('the maps of this teacher have no semantic reading: set loss.semantic_weight=0')

    def target_of(self, targets: Targets, view: BatchView, grid: StudentGrid) -> InteractionMaps:
        """The maps as `reading` reads them; labels of the view raise presence."""
        assert targets.maps is not None
        return self.reading(targets.maps, view.labels)

    def check_target(self, target: InteractionMaps) -> None:
        """As `InteractionMaps.check`."""
        target.check()

    def with_means(
        self, target: InteractionMaps, means: Mapping[str, RunningMean], num_texts: int
    ) -> InteractionMaps:
        """One map for each concept, whatever the image; presence stays with its image.

        The map is the mean of what the loss reads from the maps of all views so far: over locations the mean
        of the concept's probabilities, by its presence in each view; over concepts the mean of its
        probabilities at each location, where it was asked about. No other constant is nearer to the images'
        own maps, as the loss has it. `OTHER` has a mean of its own. All images must have one size.
        """
        loss, changed = self.loss, target
        chosen = _one_hot(target, num_texts)  # [B, M, C + 1]
        with torch.autocast(target.logits.device.type, enabled=False):
            if 'spatial' in means:
                present = target.presence[..., None] * chosen
                spatial_log_probs = target.spatial_log_probs(loss.spatial_scale(target)).exp()
                mean = _mean_of(spatial_log_probs, target.valid, present, chosen, means['spatial'])
                changed = replace(changed, spatial_logits=loss.spatial_temperature * mean)
            if 'semantic' in means:
                semantic_log_probs = target.semantic_log_probs(loss.semantic_temperature).exp()
                mean = _mean_of(semantic_log_probs, target.valid, chosen, chosen, means['semantic'])
                changed = replace(changed, logits=loss.semantic_temperature * mean)
        return changed

    def questions(self, readout: InteractionReadout, texts: Tensor, target: InteractionMaps) -> Tensor:
        """One query for each concept that the teacher was asked about, (B, M, C) or (M, C)."""
        return readout.questions(texts, target.concepts)

    def forward(self, outputs: StudentOutputs, target: InteractionMaps) -> dict[str, Tensor]:
        """The terms of the loss."""
        assert outputs.readout is not None and outputs.texts is not None
        terms: dict[str, Tensor] = self.loss(outputs.readout(outputs.states, outputs.texts, target), target)
        return terms


def _one_hot(maps: InteractionMaps, num_texts: int) -> Tensor:
    """Which concept each map is of, (B, M, C + 1); `OTHER` is the last."""
    concepts = maps.concepts
    if concepts is None:
        concepts = torch.arange(num_texts, device=maps.logits.device).expand(len(maps.logits), -1)
    # Remainders put OTHER, which is -1, behind the others. `F.one_hot` would wait for the device.
    every = torch.arange(num_texts + 1, device=concepts.device)
    return (concepts.remainder(num_texts + 1)[..., None] == every).float()


def _mean_of(p: Tensor, valid: Tensor, weight: Tensor, chosen: Tensor, mean: RunningMean) -> Tensor:
    """Add maps to the means of their concepts, and read out the logarithms of these, (B, L, M, H, W).

    Args:
        p: (B, L, M, H, W), probabilities.
        valid: (B, H, W) bool.
        weight: (B, M, C + 1), of each map in the mean of each concept.
        chosen: (B, M, C + 1), the concept of each map.
        mean: of the concepts, (L, C + 1, H, W).
    """
    seen = valid.float()
    mean.add(
        torch.einsum('bmc,blmhw,bhw->lchw', weight, p, seen),
        torch.einsum('bmc,bhw->chw', weight, seen),
    )
    # A concept that was never present has no mean, and no weight in the loss.
    return torch.einsum('bmc,lchw->blmhw', chosen, mean.mean.clamp_min(1e-12).log())
