"""Base class of teachers, which compute targets on a student's grid."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.structures import (
    DIRECTIONS,
    OTHER,
    BatchView,
    ImageFeatures,
    InteractionMaps,
    StudentGrid,
    Targets,
    maps_in_view,
)

# The smallest number above 0 in half precision, in which caches store presence.
MIN_PRESENCE = 2.0**-24


class Teacher:
    """Base class of teachers. A subclass implements `ask`, `features_of`, or both.

    A teacher is no `nn.Module`, so that no state dict, optimizer or DDP bucket contains it.

    Attributes:
        bank: concepts of the teacher.
        max_concepts: number of concepts that the teacher is asked about per image. None for the whole bank.
    """

    bank: ConceptBank
    max_concepts: int | None = None

    def __deepcopy__(self, memo: dict) -> Teacher:
        # Averaged copies of a student (EMA) share its teacher.
        return self

    @property
    def text_embeddings(self) -> Tensor:
        """Unit embeddings of all texts of the bank, (C, E), on the device of the latest batch."""
        return self.bank.embeddings

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions in which the maps can be read, a subset of `lfi.structures.DIRECTIONS`."""
        return DIRECTIONS

    @property
    def presence_kind(self) -> str | None:
        """Description of how the teacher computes presence, for tables; None if unknown."""
        return None

    def ask(self, batch: BatchView) -> InteractionMaps:
        """Read the interaction maps of a batch, on the teacher's own grid."""
        raise NotImplementedError(f'{type(self).__name__} has no interaction maps')

    def features_of(self, batch: BatchView) -> ImageFeatures:
        """Read the features of a batch, on the teacher's own grid."""
        raise NotImplementedError(f'{type(self).__name__} has no features')

    def maps_in(self, batch: BatchView, grid: StudentGrid) -> InteractionMaps:
        """Return the maps of the views on the student's grid, before any reading."""
        return maps_in_view(self.ask(batch), grid, batch.valid_sizes)

    def features_in(self, batch: BatchView, grid: StudentGrid) -> ImageFeatures:
        """Return the features of the views on the student's grid."""
        features = self.features_of(batch)
        return replace(features, locations=features.locations_on(grid.shape))

    def targets(self, batch: BatchView, grid: StudentGrid, teacher_outputs: Collection[str]) -> Targets:
        """Compute the teacher's targets for the views of a batch.

        With 'maps' in `teacher_outputs`, class scores are the logarithm of the maps' presence. Otherwise they
        are the zero-shot logits of the features. The presence of cached maps describes the unaugmented image,
        not the view.

        Args:
            batch: images of a training step, with their views.
            grid: grid of the student.
            teacher_outputs: fields of `Targets` to compute, a subset of `lfi.structures.TEACHER_OUTPUTS`.
        """
        maps = self.maps_in(batch, grid) if 'maps' in teacher_outputs else None
        if maps is not None:
            # A part's reading sets `spatial_logits` later; controls change `logits` alone.
            maps = replace(maps, spatial_logits=None)
        features = self.features_in(batch, grid) if 'features' in teacher_outputs else None
        scores = None
        if 'class_scores' in teacher_outputs and maps is not None:
            scores = class_log_probabilities(maps, len(self.bank))
        elif 'class_scores' in teacher_outputs:
            scores = (features or self.features_in(batch, grid)).scores
        return Targets(maps, features, scores)


def class_log_probabilities(maps: InteractionMaps, num_texts: int) -> Tensor:
    """Logarithm of the teacher's own presence of each concept, (B, num_texts).

    Texts without a map in a picture share the remaining mass of the softmax over the bank evenly. In a mixed
    picture, a concept whose maps one image does not keep has no presence in that image.
    Presence is clamped to `MIN_PRESENCE`, the smallest value that a cache can store.

    Args:
        maps: maps of a batch, before any reading.
        num_texts: number of texts in the bank, background included.
    """
    presence = maps.presence.float()
    if maps.concepts is not None:
        asked_presence = presence[:, :-1]  # [B, M], without the joint map `OTHER`
        even_share = (1 - asked_presence.sum(1, keepdim=True)) / (num_texts - asked_presence.shape[1])
        # The presence of `OTHER` goes into an extra last column.
        columns = torch.where(maps.concepts == OTHER, num_texts, maps.concepts)
        presence = even_share.repeat(1, num_texts + 1).scatter(1, columns, presence)[:, :num_texts]
    return presence.clamp_min(MIN_PRESENCE).log()
