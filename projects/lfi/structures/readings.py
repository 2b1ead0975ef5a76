"""Readings of a teacher's maps: where a concept is, and whether it is in the image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .interaction_maps import MASKED, OTHER, InteractionMaps

SPATIAL_READINGS = ('logits', 'concept_softmax')
PRESENCES = ('label', 'image', 'best-location')


@dataclass(frozen=True)
class TeacherReading:
    """Reading of a teacher's maps on the student's grid, in the view that the student sees.

    The best choice depends on the teacher and the data. `lfi eval-teacher` measures all of them and
    recommends one.

    Args:
        spatial_reading: scores of a concept over locations:

            - 'logits', the teacher's logits of the concept;
            - 'concept_softmax', its log-probability among all concepts of the bank at each location. A
              location where another concept or the background is likelier then counts little, whatever its
              logit.

            Defaults to 'logits'.
        presence: how to judge whether a concept is in the image. A label raises presence to 1 whatever the
            choice. One of:

            - 'label', the labels alone;
            - 'image', the teacher's answer about the whole image: for each concept by itself (SigLIP,
              generative VLMs), or a softmax over the bank. See `VLMAttentionTeacher.presence_kind`;
            - 'best-location', the concept's probability among all concepts of the bank, at the valid location
              where it is largest. It finds small objects beside the main one, and several objects at once.

            Defaults to 'image'.

    Raises:
        ValueError: if an option is unknown.
    """

    spatial_reading: str = 'logits'
    presence: str = 'image'

    def __post_init__(self) -> None:
        for name, choices in (('spatial_reading', SPATIAL_READINGS), ('presence', PRESENCES)):
            if getattr(self, name) not in choices:
                raise ValueError(f'{name}={getattr(self, name)!r} is unknown; use one of {choices}')

    def check(self, directions: tuple[str, ...]) -> None:
        """Check that a teacher's maps have the directions that this reading needs.

        Args:
            directions: directions of the teacher's maps.

        Raises:
            ValueError: if a direction is missing.
        """
        if 'semantic' not in directions:
            for name, alternative in (('spatial_reading', 'logits'), ('presence', 'image')):
                if getattr(self, name) in ('concept_softmax', 'best-location'):
                    raise ValueError(
                        f'{name}={getattr(self, name)!r} compares concepts at each location, and the maps of '
                        f'this teacher have no semantic direction: set reading.{name}={alternative!r}'
                    )

    def __call__(self, maps: InteractionMaps, labels: Tensor | None = None) -> InteractionMaps:
        """Apply the reading to maps, which may be warped and resized already.

        Args:
            maps: maps of the view, with the teacher's presence.
            labels: (B, C) in [0, 1], labels of the concepts in the view. Defaults to None: nothing is
                labelled.

        Returns:
            The maps with the chosen presence, raised by the labels, and for 'concept_softmax' with
            `spatial_logits`.
        """
        presence = maps.presence
        if self.compares_concepts:
            log_probs = maps.semantic_log_probs()
            if self.presence == 'best-location':
                presence = _best_location(maps, log_probs)
            if self.spatial_reading == 'concept_softmax':
                maps = replace(maps, spatial_logits=log_probs)
        if self.presence == 'label':
            presence = torch.zeros_like(presence)
        maps = replace(maps, presence=presence)
        return maps if labels is None else maps.with_labels(labels)

    @property
    def compares_concepts(self) -> bool:
        """Whether concepts are compared with one another at each location."""
        return self.spatial_reading == 'concept_softmax' or self.presence == 'best-location'


def _best_location(maps: InteractionMaps, log_probs: Tensor) -> Tensor:
    """Largest probability of each concept over the valid locations, mean over layers: (B, M).

    It is 0 for the joint map `OTHER`, and for an image without a valid location.
    """
    log_probs = log_probs.masked_fill(~maps.valid[:, None, None], MASKED)
    best = log_probs.flatten(-2).amax(-1).exp().mean(1)
    return best if maps.concepts is None else best.masked_fill(maps.concepts == OTHER, 0)
