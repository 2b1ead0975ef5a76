"""How good labels are, against annotations and beside controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor

from lfi.apis.readers import ConceptAnswers
from lfi.datasets import objects_of
from lfi.evaluation import MeanIoU, centre_map, coco_precision

from .label_rules import LabelRules
from .labelling import FoundObject, ImageLabels, label_image, present_concepts

MASK_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
PRESENCE_THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class AnnotatedImage:
    """An image's annotations, and what a model says of it.

    Args:
        size: Height and width.
        answers: Of the model.
        objects: As `coco_precision` takes them.
        regions: By its concept, where any object is, run-length encoded.
        ignored: Likewise, where objects are that do not count, such as crowds: who finds them there is
            neither right nor wrong.
    """

    size: tuple[int, int]
    answers: ConceptAnswers
    objects: list[dict]
    regions: dict[int, dict]
    ignored: dict[int, dict]

    @classmethod
    def of(cls, results: Mapping, answers: ConceptAnswers) -> AnnotatedImage:
        """Of what a data set's pipeline gives before it packs."""
        found = objects_of(results)
        objects = [
            {**vars(FoundObject.of(int(label), 1.0, mask)), 'ignored': bool(ignored)}
            for mask, label, ignored in zip(found.masks, found.labels, found.ignored)
            if mask.any()
        ]
        regions = merged([each for each in objects if not each['ignored']])
        ignored = merged([each for each in objects if each['ignored']])
        return cls(tuple(results['img'].shape[:2]), answers, objects, regions, ignored)

    def with_true_presence(self) -> AnnotatedImage:
        """The same, with a presence of 1 for what is there, and of 0 for the rest."""
        presence = torch.zeros_like(self.answers.presence)
        presence[list(self.regions)] = 1
        return self.with_presence(presence)

    def with_presence(self, presence: Tensor) -> AnnotatedImage:
        """The same with another presence (T,)."""
        return replace(self, answers=replace(self.answers, presence=presence))


def merged(objects: Sequence[Mapping]) -> dict[int, dict]:
    """By its concept, where any of its objects is, run-length encoded."""
    concepts = {each['concept'] for each in objects}
    return {c: rle.merge([o['segmentation'] for o in objects if o['concept'] == c]) for c in concepts}


Labeller = Callable[[AnnotatedImage], ImageLabels]
"""From an image to its labels."""


def measure(images: Sequence[AnnotatedImage], labeller: Labeller) -> dict[str, float]:
    """Measure labels, all in [0, 1].

    Returns:
        - 'precision', 'recall' and 'f1' of presence: of pairs of an image and a concept;
        - 'first': the share of images that show the concept of the highest presence, of the images
          with one;
        - 'mean_iou': of each concept's pixels, as `MeanIoU` has it;
        - 'box_ap', 'box_recall', 'mask_ap', 'mask_recall': of objects at an IoU of 0.5, as `coco_precision`
          has them.
    """
    labels = [labeller(image) for image in images]
    found = [[vars(each) for each in of.objects] for of in labels]
    true = [image.objects for image in images]
    box, mask = (coco_precision(true, found, kind) for kind in ('bbox', 'segm'))
    return {
        **_presence_quality(images, [of.presence for of in labels]),
        'mean_iou': _mean_iou(images, labels),
        'box_ap': box['average_precision'],
        'box_recall': box['recall'],
        'mask_ap': mask['average_precision'],
        'mask_recall': mask['recall'],
    }


def _mean_iou(images: Sequence[AnnotatedImage], labels: Sequence[ImageLabels]) -> float:
    iou = MeanIoU(len(images[0].answers.presence))
    for image, found in zip(images, labels):
        seen = merged([vars(each) for each in found.objects])
        iou.add({c: _without(region, image.ignored.get(c)) for c, region in seen.items()}, image.regions)
    return iou.value()


def _without(region: dict, ignored: dict | None) -> dict:
    """A region less another one, run-length encoded."""
    if ignored is None:
        return region
    return rle.encode(np.asfortranarray(rle.decode(region) & ~rle.decode(ignored).astype(bool)))


def _presence_quality(images: Sequence[AnnotatedImage], presence: list[dict]) -> dict[str, float]:
    shown = [image.regions.keys() for image in images]
    presence = [
        {c: likelihood for c, likelihood in told.items() if c in image.regions or c not in image.ignored}
        for image, told in zip(images, presence)
    ]
    hits = sum(len(told.keys() & true) for told, true in zip(presence, shown))
    told, there = sum(map(len, presence)), sum(map(len, shown))
    firsts = [next(iter(told)) in true for told, true in zip(presence, shown) if told]
    return dict(
        precision=hits / max(told, 1),
        recall=hits / there,
        f1=2 * hits / (told + there),
        first=float(np.mean(firsts)) if firsts else 0.0,
    )


def compare(images: Sequence[AnnotatedImage], rules: LabelRules) -> dict[str, dict[str, float]]:
    """The measures of labels by their name: a model's own, and controls.

    'true presence' is told what is there. The others have no say in where (the image's centre, the complete
    image), or in whether (the presence of the image before). The centre's mask has the threshold, of
    `MASK_THRESHOLDS`, that is best for these very images. Images without annotated objects are left out.

    Raises:
        ValueError: If fewer than two images have objects.
    """
    annotated = [image for image in images if image.regions]
    if len(annotated) < 2:
        raise ValueError(f'{len(annotated)} images have annotated objects: give two or more')
    told = [image.with_true_presence() for image in annotated]
    before = [
        image.with_presence(other.answers.presence)
        for image, other in zip(annotated, [annotated[-1], *annotated[:-1]])
    ]

    everywhere = partial(_in_the_middle, threshold=0, rules=rules)
    own = partial(_own, rules=rules)
    return {
        'own': measure(annotated, own),
        'own maps, true presence': measure(told, own),
        'own maps, presence of another image': measure(before, own),
        'centre, own presence': _of_centre(annotated, rules),
        'centre, true presence': _of_centre(told, rules),
        'complete image, own presence': measure(annotated, everywhere),
        'complete image, true presence': measure(told, everywhere),
    }


def sweep_presence(images: Sequence[AnnotatedImage]) -> dict[float, dict[str, float]]:
    """Precision, recall and F1 of presence at each of `PRESENCE_THRESHOLDS`."""
    annotated = [image for image in images if image.regions]
    return {
        threshold: _presence_quality(
            annotated, [present_concepts(image.answers.presence, threshold) for image in annotated]
        )
        for threshold in PRESENCE_THRESHOLDS
    }


def sweep_masks(images: Sequence[AnnotatedImage], rules: LabelRules) -> dict[float, dict[str, float]]:
    """The measures of a model's own labels at each of `MASK_THRESHOLDS`."""
    annotated = [image for image in images if image.regions]
    return {
        threshold: measure(annotated, partial(_own, rules=replace(rules, mask_threshold=threshold)))
        for threshold in MASK_THRESHOLDS
    }


def _own(image: AnnotatedImage, rules: LabelRules) -> ImageLabels:
    return label_image(image.answers, image.size, rules)


def _of_centre(images: Sequence[AnnotatedImage], rules: LabelRules) -> dict[str, float]:
    labellers = [partial(_in_the_middle, threshold=threshold, rules=rules) for threshold in MASK_THRESHOLDS]
    return measure(
        images, max(labellers, key=lambda each: _mean_iou(images, [each(image) for image in images]))
    )


def _in_the_middle(image: AnnotatedImage, threshold: float, rules: LabelRules) -> ImageLabels:
    """Each present concept in the middle of the image, as far as a Gaussian reaches the threshold."""
    mask = (centre_map(image.size) >= threshold).numpy()
    presence = present_concepts(image.answers.presence, rules.presence_threshold)
    objects = [FoundObject.of(c, likelihood, mask) for c, likelihood in presence.items()]
    return ImageLabels(presence, objects[: rules.max_per_image])
