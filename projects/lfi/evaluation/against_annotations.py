"""Predicted objects and masks against annotations: COCO's average precision, and mean IoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def coco_precision(
    annotations: Sequence[Sequence[Mapping]], predictions: Sequence[Sequence[Mapping]], iou_type: str
) -> dict[str, float]:
    """Average precision and recall at an IoU of 0.5, mean over the annotated classes.

    For each image and class, the 100 predictions of the highest scores count.

    Args:
        annotations: annotated objects of N images. Each object has `concept`, an index; `segmentation`, a
            run-length encoded mask; `bbox`, (x, y, width, height) in pixels; `area`, in pixels; `ignored`,
            whether the object does not count.
        predictions: predicted objects of the N images, with `score` and without `ignored`.
        iou_type: 'bbox' for the IoU of boxes, 'segm' for that of masks.

    Returns:
        `average_precision` and `recall`, each in [0, 1].

    Raises:
        ValueError: if no image has an annotated object that counts.
    """
    concepts = {obj['concept'] for objects in annotations for obj in objects if not obj['ignored']}
    if not concepts:
        raise ValueError('annotations: no image shows an object that counts')
    categories = [dict(id=c) for c in sorted(concepts)]
    # pycocotools reads the sizes, but needs them for polygons only.
    images = [dict(id=i, height=0, width=0) for i in range(len(annotations))]
    truth, results = COCO(), COCO()
    truth.dataset = dict(images=images, categories=categories, annotations=_entries(annotations, concepts))
    results.dataset = dict(images=images, categories=categories, annotations=_entries(predictions, concepts))
    # pycocotools prints its progress.
    with redirect_stdout(StringIO()):
        truth.createIndex()
        results.createIndex()
        evaluation = COCOeval(truth, results, iou_type)
        evaluation.params.iouThrs = [0.5]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][0, :, :, 0, -1]
    return dict(
        average_precision=float(precision.mean()), recall=float(evaluation.eval['recall'][0, :, 0, -1].mean())
    )


def _entries(objects: Sequence[Sequence[Mapping]], concepts: set[int]) -> list[dict]:
    numbered = [(i, obj) for i, image_objects in enumerate(objects) for obj in image_objects]
    return [
        dict(
            id=k,
            image_id=i,
            category_id=obj['concept'],
            iscrowd=int(obj.get('ignored', False)),
            **{key: obj[key] for key in ('segmentation', 'bbox', 'area', 'score') if key in obj},
        )
        for k, (i, obj) in enumerate(numbered, 1)
        if obj['concept'] in concepts
    ]


class MeanIoU:
    """Mean over classes of the IoU, with the pixels of all images pooled.

    Only annotated classes count. A pixel may belong to several classes.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self._intersection = np.zeros(num_classes)
        self._union = np.zeros(num_classes)
        self._is_annotated = np.zeros(num_classes, bool)

    def add(self, predictions: Mapping[int, dict], annotations: Mapping[int, dict]) -> None:
        """Add an image.

        Args:
            predictions: predicted masks by class, run-length encoded.
            annotations: annotated masks by class, run-length encoded.
        """
        for label in {*predictions, *annotations}:
            masks = [masks[label] for masks in (predictions, annotations) if label in masks]
            self._union[label] += rle.area(rle.merge(masks))
            if len(masks) == 2:
                self._intersection[label] += rle.area(rle.merge(masks, intersect=True))
        self._is_annotated[[label for label, mask in annotations.items() if rle.area(mask)]] = True

    def value(self) -> float:
        """Return the mean IoU in [0, 1].

        Raises:
            ValueError: if no image has an annotated class.
        """
        if not self._is_annotated.any():
            raise ValueError('no image shows a class')
        return float((self._intersection[self._is_annotated] / self._union[self._is_annotated]).mean())
