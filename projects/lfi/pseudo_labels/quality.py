"""Quality of pseudo-labels against annotations, beside controls."""

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
from .labelling import ImageLabels, ObjectLabel, label_image, present_concepts

MASK_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
MIN_SCORES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRESENCE_THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class AnnotatedImage:
    """Annotations of an image with the answers of a model.

    Args:
        size: height and width of the image, in pixels.
        answers: answers of the model.
        objects: annotated objects, in the form that `coco_precision` takes.
        regions: region of the objects by concept, run-length encoded.
        ignored: region of ignored objects, such as crowds, by concept, run-length encoded. Labels there are
            neither right nor wrong.
    """

    size: tuple[int, int]
    answers: ConceptAnswers
    objects: list[dict]
    regions: dict[int, dict]
    ignored: dict[int, dict]

    @classmethod
    def from_results(cls, results: Mapping, answers: ConceptAnswers) -> AnnotatedImage:
        """Build an annotated image from the results of a data set's pipeline before packing."""
        annotated = objects_of(results)
        objects = [
            {**vars(ObjectLabel.from_mask(int(label), 1.0, mask)), 'ignored': bool(ignored)}
            for mask, label, ignored in zip(annotated.masks, annotated.labels, annotated.ignored)
            if mask.any()
        ]
        regions = merge_regions([obj for obj in objects if not obj['ignored']])
        ignored = merge_regions([obj for obj in objects if obj['ignored']])
        return cls(tuple(results['img'].shape[:2]), answers, objects, regions, ignored)

    def with_true_presence(self) -> AnnotatedImage:
        """Return a copy with a presence of 1 for annotated concepts, and 0 for all others."""
        presence = torch.zeros_like(self.answers.presence)
        presence[list(self.regions)] = 1
        return self.with_presence(presence)

    def with_presence(self, presence: Tensor) -> AnnotatedImage:
        """Return a copy with the given presence, (T,)."""
        return replace(self, answers=replace(self.answers, presence=presence))


def merge_regions(objects: Sequence[Mapping]) -> dict[int, dict]:
    """Merge the masks of objects by concept, run-length encoded."""
    concepts = {obj['concept'] for obj in objects}
    return {c: rle.merge([o['segmentation'] for o in objects if o['concept'] == c]) for c in concepts}


Labeller = Callable[[AnnotatedImage], ImageLabels]
"""Function from an image to its labels."""


def measure(images: Sequence[AnnotatedImage], labeller: Labeller) -> dict[str, float]:
    """Measure labels against annotations.

    Returns:
        Measures in [0, 1]:

        - 'precision', 'recall' and 'f1': presence over pairs of an image and a concept;
        - 'first': share of labelled images that show the concept of the highest presence;
        - 'mean_iou': IoU of the pixels of each concept (`MeanIoU`);
        - 'box_ap', 'box_recall', 'mask_ap', 'mask_recall': objects at an IoU of 0.5 (`coco_precision`).
    """
    labels = [labeller(image) for image in images]
    predictions = [[vars(obj) for obj in image_labels.objects] for image_labels in labels]
    annotations = [image.objects for image in images]
    box, mask = (coco_precision(annotations, predictions, iou_type) for iou_type in ('bbox', 'segm'))
    return {
        **_presence_quality(images, [image_labels.presence for image_labels in labels]),
        'mean_iou': _mean_iou(images, labels),
        'box_ap': box['average_precision'],
        'box_recall': box['recall'],
        'mask_ap': mask['average_precision'],
        'mask_recall': mask['recall'],
    }


def _mean_iou(images: Sequence[AnnotatedImage], labels: Sequence[ImageLabels]) -> float:
    iou = MeanIoU(len(images[0].answers.presence))
    for image, image_labels in zip(images, labels):
        regions = merge_regions([vars(obj) for obj in image_labels.objects])
        iou.add({c: _subtract(region, image.ignored.get(c)) for c, region in regions.items()}, image.regions)
    return iou.value()


def _subtract(region: dict, ignored: dict | None) -> dict:
    """Remove ignored pixels from a region, both run-length encoded."""
    if ignored is None:
        return region
    return rle.encode(np.asfortranarray(rle.decode(region) & ~rle.decode(ignored).astype(bool)))


def _presence_quality(images: Sequence[AnnotatedImage], presence: list[dict]) -> dict[str, float]:
    visible = [image.regions.keys() for image in images]
    presence = [
        {c: value for c, value in labels.items() if c in image.regions or c not in image.ignored}
        for image, labels in zip(images, presence)
    ]
    hits = sum(len(labels.keys() & truth) for labels, truth in zip(presence, visible))
    num_labels, num_visible = sum(map(len, presence)), sum(map(len, visible))
    firsts = [next(iter(labels)) in truth for labels, truth in zip(presence, visible) if labels]
    return dict(
        precision=hits / max(num_labels, 1),
        recall=hits / num_visible,
        f1=2 * hits / (num_labels + num_visible),
        first=float(np.mean(firsts)) if firsts else 0.0,
    )


def compare(images: Sequence[AnnotatedImage], rules: LabelRules) -> dict[str, dict[str, float]]:
    """Measure the labels of a model and of controls, by name.

    Controls replace the presence by the annotations ('true presence') or by the previous image's presence
    ('presence of another image'), the maps by the centre of the image or the complete image, or both. The
    threshold of the centre mask is the best of `MASK_THRESHOLDS` on these images. Images without annotated
    objects are left out.

    Raises:
        ValueError: if fewer than two images have objects.
    """
    annotated = [image for image in images if image.regions]
    if len(annotated) < 2:
        raise ValueError(f'{len(annotated)} images have annotated objects: give two or more')
    with_truth = [image.with_true_presence() for image in annotated]
    shifted = [
        image.with_presence(other.answers.presence)
        for image, other in zip(annotated, [annotated[-1], *annotated[:-1]])
    ]

    complete = partial(_centre_labels, threshold=0, rules=rules)
    model = partial(_model_labels, rules=rules)
    return {
        'own': measure(annotated, model),
        'own maps, true presence': measure(with_truth, model),
        'own maps, presence of another image': measure(shifted, model),
        'centre, own presence': _measure_centre(annotated, rules),
        'centre, true presence': _measure_centre(with_truth, rules),
        'complete image, own presence': measure(annotated, complete),
        'complete image, true presence': measure(with_truth, complete),
    }


def sweep_presence(images: Sequence[AnnotatedImage]) -> dict[float, dict[str, float]]:
    """Measure presence at each of `PRESENCE_THRESHOLDS`."""
    annotated = [image for image in images if image.regions]
    return {
        threshold: _presence_quality(
            annotated, [present_concepts(image.answers.presence, threshold) for image in annotated]
        )
        for threshold in PRESENCE_THRESHOLDS
    }


def sweep_masks(images: Sequence[AnnotatedImage], rules: LabelRules) -> dict[float, dict[str, float]]:
    """Measure the labels of a model at each of `MASK_THRESHOLDS`."""
    annotated = [image for image in images if image.regions]
    return {
        threshold: measure(annotated, partial(_model_labels, rules=replace(rules, mask_threshold=threshold)))
        for threshold in MASK_THRESHOLDS
    }


def sweep_scores(images: Sequence[AnnotatedImage], rules: LabelRules) -> dict[float, dict[str, float]]:
    """Measure the boxes of a model that have at least each of `MIN_SCORES`.

    Returns:
        For each score: 'kept', the share of all boxes; 'precision', the share of the kept boxes that match an
        object; 'recall', the share of objects that a kept box matches; and 'f_half', the F-measure that
        counts precision twice as much as recall. Boxes of all classes count together, and match at an IoU
        of 0.5.
    """
    annotated = [image for image in images if image.regions]
    rules = replace(rules, min_score=0.0)
    boxes = [box for image in annotated for box in _matched_boxes(image, _model_labels(image, rules))]
    scores, hits = (np.array(values) for values in zip(*boxes)) if boxes else (np.zeros(0), np.zeros(0, bool))
    num_objects = sum(not obj['ignored'] for image in annotated for obj in image.objects)
    measures = {}
    for least in MIN_SCORES:
        kept, num_hits = int((scores >= least).sum()), int(hits[scores >= least].sum())
        measures[least] = dict(
            kept=kept / max(len(scores), 1),
            precision=num_hits / max(kept, 1),
            recall=num_hits / num_objects,
            f_half=1.25 * num_hits / max(kept + 0.25 * num_objects, 1),
        )
    return measures


def _matched_boxes(image: AnnotatedImage, labels: ImageLabels) -> list[tuple[float, bool]]:
    """Return the score of each box, and whether it matches an object, as COCO's metric matches.

    The box of the highest score takes the object of the largest IoU first. Boxes on ignored objects are left
    out.
    """
    boxes = []
    for concept in labels.presence:
        found = [obj for obj in labels.objects if obj.concept == concept]
        objects = [obj for obj in image.objects if obj['concept'] == concept]
        ignored = np.array([obj['ignored'] for obj in objects], bool)
        iou = np.zeros((len(found), len(objects)))
        if iou.size:
            labelled, annotated = (
                np.array(each) for each in ([o.bbox for o in found], [o['bbox'] for o in objects])
            )
            iou = rle.iou(labelled.astype(float), annotated.astype(float), ignored.astype(np.uint8))
        free = ~ignored
        for obj, overlaps in zip(found, iou):
            if hit := bool((overlaps[free] >= 0.5).any()):
                free[np.where(free, overlaps, 0).argmax()] = False
            elif (overlaps[ignored] >= 0.5).any():
                continue
            boxes.append((obj.score, hit))
    return boxes


def _model_labels(image: AnnotatedImage, rules: LabelRules) -> ImageLabels:
    labels = label_image(image.answers, image.size, rules)
    return replace(labels, objects=[obj for obj in labels.objects if obj.score >= rules.min_score])


def _measure_centre(images: Sequence[AnnotatedImage], rules: LabelRules) -> dict[str, float]:
    labellers = [partial(_centre_labels, threshold=threshold, rules=rules) for threshold in MASK_THRESHOLDS]
    return measure(
        images, max(labellers, key=lambda label: _mean_iou(images, [label(image) for image in images]))
    )


def _centre_labels(image: AnnotatedImage, threshold: float, rules: LabelRules) -> ImageLabels:
    """Label each present concept at the centre, where `centre_map` reaches the threshold."""
    mask = (centre_map(image.size) >= threshold).numpy()
    presence = present_concepts(image.answers.presence, rules.presence_threshold)
    objects = [ObjectLabel.from_mask(c, value, mask) for c, value in presence.items()]
    return ImageLabels(presence, objects[: rules.max_per_image])
