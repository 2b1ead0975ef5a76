"""What every teacher gives a student: targets on the student's grid."""

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

# The least number above 0 in half precision, in which caches keep presence.
LEAST_PRESENCE = 2.0**-24


class Teacher:
    """Base class of teachers. A subclass says by `ask`, or `features_of`, what it makes of a batch.

    It is no `nn.Module`: it is in no state dict, optimizer or DDP bucket.

    Attributes:
        bank: the concepts.
        max_concepts: how many concepts an image is asked about; None where these are all of the bank.
    """

    bank: ConceptBank
    max_concepts: int | None = None

    def __deepcopy__(self, memo: dict) -> Teacher:
        # Averaged copies of a student (EMA) share its teacher.
        return self

    @property
    def texts(self) -> Tensor:
        """The unit embeddings of the concepts, (C, E), on the device of the latest batch."""
        return self.bank.embeddings

    @property
    def directions(self) -> tuple[str, ...]:
        """The readings that its maps have, of `lfi.structures.DIRECTIONS`."""
        return DIRECTIONS

    @property
    def own_presence(self) -> str | None:
        """What the presence of its maps is, for tables; None where that is not known."""
        return None

    def ask(self, view: BatchView) -> InteractionMaps:
        """The maps of what the teacher is shown, on its own grid."""
        raise NotImplementedError(f'{type(self).__name__} has no interaction maps')

    def features_of(self, view: BatchView) -> ImageFeatures:
        """The features of what the teacher is shown, on its own grid."""
        raise NotImplementedError(f'{type(self).__name__} has no features')

    def maps_in(self, view: BatchView, grid: StudentGrid) -> InteractionMaps:
        """The maps of the views on the student's grid, before they are read."""
        return maps_in_view(self.ask(view), grid, view.valid_sizes)

    def features_in(self, view: BatchView, grid: StudentGrid) -> ImageFeatures:
        """The features of the views on the student's grid."""
        features = self.features_of(view)
        return replace(features, locations=features.locations_on(grid.shape))

    def targets(self, view: BatchView, grid: StudentGrid, needs: Collection[str]) -> Targets:
        """What the teacher says of the views of a batch.

        Where maps are made too, class scores are the logarithm of the maps' presence. Otherwise they are the
        zero-shot logits of the features. From a cache of whole images, presence and the class scores that it
        gives are the image's, and not the view's.

        Args:
            view: the batch.
            grid: the student's.
            needs: the fields that are made, of `lfi.structures.NEEDS`.
        """
        maps = self.maps_in(view, grid) if 'maps' in needs else None
        if maps is not None:
            # A reading makes them; controls know `logits` alone.
            maps = replace(maps, spatial_logits=None)
        features = self.features_in(view, grid) if 'features' in needs else None
        scores = None
        if 'class_scores' in needs and maps is not None:
            scores = class_log_probabilities(maps, len(self.bank))
        elif 'class_scores' in needs:
            scores = (features or self.features_in(view, grid)).scores
        return Targets(maps, features, scores)


def class_log_probabilities(maps: InteractionMaps, num_texts: int) -> Tensor:
    """The logarithm of the teacher's own presence of each concept, (B, num_texts).

    The remaining mass of a softmax over the bank is divided evenly among the texts that an image was not
    asked about. No presence is less than the least that a cache can hold.

    Args:
        maps: of a batch, before they are read.
        num_texts: of the bank, its background included.
    """
    presence = maps.presence.float()
    if maps.concepts is not None:
        named = presence[:, :-1]  # [B, M], without `OTHER`
        even = (1 - named.sum(1, keepdim=True)) / (num_texts - named.shape[1])
        # `OTHER` falls into an extra last column.
        column = torch.where(maps.concepts == OTHER, num_texts, maps.concepts)
        presence = even.repeat(1, num_texts + 1).scatter(1, column, presence)[:, :num_texts]
    return presence.clamp_min(LEAST_PRESENCE).log()
