"""From a model's answers to an image's labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as rle
from torch import Tensor

from lfi.apis.readers import ConceptAnswers

from .label_rules import LabelRules
from .masks import concept_masks

# The score and the presence of a label are rounded to so many decimals.
DECIMALS = 4


@dataclass(frozen=True)
class FoundObject:
    """An object as COCO annotates it.

    Args:
        concept: Its index.
        score: Presence of the concept times the mean strength of its map inside the mask, in [0, 1].
        bbox: x, y, width and height in pixels.
        area: Of the mask in pixels.
        segmentation: The mask, run-length encoded: `size`, height and width, and `counts`, a string.
    """

    concept: int
    score: float
    bbox: list[float]
    area: int
    segmentation: dict

    @classmethod
    def of(cls, concept: int, score: float, mask: np.ndarray) -> FoundObject:
        """The object that a mask, (H, W) bool, shows; the mask is not empty."""
        code = rle.encode(np.asfortranarray(mask, np.uint8))
        segmentation = dict(size=[int(side) for side in code['size']], counts=code['counts'].decode())
        return cls(
            concept=concept,
            score=round(score, DECIMALS),
            bbox=rle.toBbox(code).tolist(),
            area=int(rle.area(code)),
            segmentation=segmentation,
        )


@dataclass(frozen=True)
class ImageLabels:
    """What an image is labelled with.

    Args:
        presence: Of each concept that is taken for present, by its index, the highest first.
        objects: The objects, that of the highest score first. A present concept may have none.
    """

    presence: dict[int, float]
    objects: list[FoundObject]


def label_image(answers: ConceptAnswers, size: tuple[int, int], rules: LabelRules) -> ImageLabels:
    """Label an image: each connected region of a present concept's mask is an object.

    Args:
        answers: Of the image.
        size: Its height and width.
        rules: The thresholds.
    """
    presence = present_concepts(answers.presence, rules.presence_threshold)
    if not presence:
        return ImageLabels({}, [])
    masks, strength = concept_masks(answers, list(presence), size, rules.mask_threshold)
    objects = [
        FoundObject.of(concept, likelihood * float(heat[region].mean()), region)
        for (concept, likelihood), mask, heat in zip(presence.items(), masks.numpy(), strength.numpy())
        for region in regions(mask, rules.min_area * mask.size)
    ]
    objects.sort(key=lambda found: -found.score)
    rounded = {c: round(likelihood, DECIMALS) for c, likelihood in presence.items()}
    return ImageLabels(rounded, objects[: rules.max_per_image])


def present_concepts(presence: Tensor, threshold: float) -> dict[int, float]:
    """By its index, the presence of each concept whose presence (T,) reaches the threshold; highest first."""
    likely = presence.argsort(descending=True, stable=True).tolist()
    return {c: float(presence[c]) for c in likely if presence[c] >= threshold}


def regions(mask: np.ndarray, min_area: float) -> list[np.ndarray]:
    """The connected regions of a mask (H, W) bool, of at least so many pixels; corners connect."""
    _, names, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    # Region 0 is what lies outside the mask.
    return [names == name for name in range(1, len(areas)) if areas[name] >= min_area]
