"""Labels of an image from the answers of a model."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as rle
from torch import Tensor

from lfi.apis.readers import ConceptAnswers

from .label_rules import LabelRules
from .masks import concept_masks

# Decimals of scores and presence in labels.
DECIMALS = 4


@dataclass(frozen=True)
class ObjectLabel:
    """Label of an object, in the form of COCO's annotations.

    Args:
        concept: index of the concept.
        score: presence of the concept times the mean strength of its map inside the mask, in [0, 1].
        bbox: (x, y, width, height) in pixels.
        area: area of the mask in pixels.
        segmentation: mask, run-length encoded: `size`, (height, width), and `counts`, a string.
    """

    concept: int
    score: float
    bbox: list[float]
    area: int
    segmentation: dict

    @classmethod
    def from_mask(cls, concept: int, score: float, mask: np.ndarray) -> ObjectLabel:
        """Build the label of an object from its mask, (H, W) bool, which must not be empty."""
        encoded = rle.encode(np.asfortranarray(mask, np.uint8))
        segmentation = dict(size=[int(side) for side in encoded['size']], counts=encoded['counts'].decode())
        return cls(
            concept=concept,
            score=round(score, DECIMALS),
            bbox=rle.toBbox(encoded).tolist(),
            area=int(rle.area(encoded)),
            segmentation=segmentation,
        )


@dataclass(frozen=True)
class ImageLabels:
    """Labels of an image.

    Args:
        presence: presence of each labelled concept by index, the highest first.
        objects: objects, the highest score first. A labelled concept may have none.
    """

    presence: dict[int, float]
    objects: list[ObjectLabel]


def label_image(answers: ConceptAnswers, size: tuple[int, int], rules: LabelRules) -> ImageLabels:
    """Label an image: each connected region of a present concept's mask is an object.

    Args:
        answers: answers of the model for the image.
        size: height and width of the image, in pixels.
        rules: thresholds of labels.
    """
    presence = present_concepts(answers.presence, rules.presence_threshold)
    if not presence:
        return ImageLabels({}, [])
    masks, strength = concept_masks(answers, list(presence), size, rules.mask_threshold)
    objects = [
        ObjectLabel.from_mask(concept, likelihood * float(heat[region].mean()), region)
        for (concept, likelihood), mask, heat in zip(presence.items(), masks.numpy(), strength.numpy())
        for region in connected_regions(mask, rules.min_area * mask.size)
    ]
    objects.sort(key=lambda obj: -obj.score)
    rounded = {c: round(likelihood, DECIMALS) for c, likelihood in presence.items()}
    return ImageLabels(rounded, objects[: rules.max_per_image])


def present_concepts(presence: Tensor, threshold: float) -> dict[int, float]:
    """Return index to presence of the concepts whose presence (T,) reaches the threshold, highest first."""
    order = presence.argsort(descending=True, stable=True).tolist()
    return {c: float(presence[c]) for c in order if presence[c] >= threshold}


def connected_regions(mask: np.ndarray, min_area: float) -> list[np.ndarray]:
    """Return the 8-connected regions of a mask, (H, W) bool, with at least `min_area` pixels."""
    _, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    # Component 0 is the background.
    return [components == i for i in range(1, len(areas)) if areas[i] >= min_area]
