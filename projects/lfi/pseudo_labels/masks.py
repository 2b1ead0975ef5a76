"""Masks of concepts from maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.apis.interaction_result import maps_on_image
from lfi.apis.readers import ConceptAnswers


def map_strength(heat: Tensor) -> Tensor:
    """Scale each map of (P, H, W) to [0, 1] over its pixels; flat maps become 0.

    NaN marks pixels that the model did not see, and stays.
    """
    low = heat.nan_to_num(float('inf')).amin((1, 2), keepdim=True)
    high = heat.nan_to_num(float('-inf')).amax((1, 2), keepdim=True)
    return (heat - low) / (high - low).where(high > low, 1.0)


def concept_masks(
    answers: ConceptAnswers, present: Sequence[int], size: tuple[int, int], threshold: float
) -> tuple[Tensor, Tensor]:
    """Compute the masks of present concepts.

    Each pixel belongs to the concept with the strongest map if the strength (`map_strength`) of this map
    reaches the threshold. Maps are compared by their values if these are comparable, else by their strength.

    Args:
        answers: answers of the model for the image.
        present: indices of the P present concepts, at least one.
        size: height and width of the image, in pixels.
        threshold: lowest strength inside a mask, in [0, 1].

    Returns:
        Masks, (P, H, W) bool, without overlap, and the strength of the maps, (P, H, W).
    """
    heat = maps_on_image(answers.maps[list(present)], answers.view, size)
    strength = map_strength(heat)
    owner = (heat if answers.comparable else strength).argmax(0)
    is_owner = owner == torch.arange(len(present))[:, None, None]
    return is_owner & (strength >= threshold), strength
