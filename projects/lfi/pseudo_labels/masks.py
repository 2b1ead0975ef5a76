"""From maps to masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.apis.interaction_result import maps_on_image
from lfi.apis.readers import ConceptAnswers


def map_strength(heat: Tensor) -> Tensor:
    """Bring each map (P, H, W) to [0, 1] over its own pixels; a flat map, which says nothing, to 0.

    NaN, where a model saw nothing, stays.
    """
    low = heat.nan_to_num(float('inf')).amin((1, 2), keepdim=True)
    high = heat.nan_to_num(float('-inf')).amax((1, 2), keepdim=True)
    return (heat - low) / (high - low).where(high > low, 1.0)


def concept_masks(
    answers: ConceptAnswers, present: Sequence[int], size: tuple[int, int], threshold: float
) -> tuple[Tensor, Tensor]:
    """Where an image shows the concepts that are there.

    A pixel belongs to at most one of them: the strongest there, by the maps themselves where these are
    comparable, else by their strength (`map_strength`). It does where that strength reaches the threshold.

    Args:
        answers: Of the image.
        present: The indices of P concepts, at least one.
        size: Height and width of the image.
        threshold: In [0, 1].

    Returns:
        The masks, (P, H, W) bool, of which no two overlap; and the strength, (P, H, W).
    """
    heat = maps_on_image(answers.maps[list(present)], answers.view, size)
    strength = map_strength(heat)
    owner = (heat if answers.comparable else strength).argmax(0)
    is_owner = owner == torch.arange(len(present))[:, None, None]
    return is_owner & (strength >= threshold), strength
