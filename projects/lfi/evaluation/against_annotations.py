"""Found objects and masks against annotations: COCO's average precision, and mean IoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def coco_precision(
    true: Sequence[Sequence[Mapping]], found: Sequence[Sequence[Mapping]], kind: str
) -> dict[str, float]:
    """Average precision and recall at an IoU of 0.5, over the classes that the images show.

    An image's 100 objects of the highest scores of each class count.

    Args:
        true: For each of N images its objects: `concept`, an index; `segmentation`, a run-length encoded
            mask; `bbox`, x, y, width and height; `area`, in pixels; `ignored`, whether it does not count.
        found: For each image the found ones, with `score` and without `ignored`.
        kind: 'bbox' or 'segm', by which the IoU is.

    Returns:
        `average_precision` and `recall`, each in [0, 1].

    Raises:
        ValueError: If no image shows an object that counts.
    """
    concepts = {each['concept'] for objects in true for each in objects if not each['ignored']}
    if not concepts:
        raise ValueError('true: no image shows an object that counts')
    categories = [dict(id=c) for c in sorted(concepts)]
    # Sizes are read, and needed for polygons alone.
    images = [dict(id=i, height=0, width=0) for i in range(len(true))]
    truth, results = COCO(), COCO()
    truth.dataset = dict(images=images, categories=categories, annotations=_annotations(true, concepts))
    results.dataset = dict(images=images, categories=categories, annotations=_annotations(found, concepts))
    # COCO's code prints its progress.
    with redirect_stdout(StringIO()):
        truth.createIndex()
        results.createIndex()
        evaluation = COCOeval(truth, results, kind)
        evaluation.params.iouThrs = [0.5]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][0, :, :, 0, -1]
    return dict(
        average_precision=float(precision.mean()), recall=float(evaluation.eval['recall'][0, :, 0, -1].mean())
    )


def _annotations(objects: Sequence[Sequence[Mapping]], concepts: set[int]) -> list[dict]:
    listed = [(i, each) for i, of_image in enumerate(objects) for each in of_image]
    return [
        dict(
            id=k,
            image_id=i,
            category_id=each['concept'],
            iscrowd=int(each.get('ignored', False)),
            **{key: each[key] for key in ('segmentation', 'bbox', 'area', 'score') if key in each},
        )
        for k, (i, each) in enumerate(listed, 1)
        if each['concept'] in concepts
    ]


class MeanIoU:
    """Mean over classes of the IoU of all pixels of all images together.

    Classes count that any image shows. A pixel may belong to several classes.

    Args:
        num_classes: How many classes there are.
    """

    def __init__(self, num_classes: int) -> None:
        self._both = np.zeros(num_classes)
        self._either = np.zeros(num_classes)
        self._is_shown = np.zeros(num_classes, bool)

    def add(self, found: Mapping[int, dict], true: Mapping[int, dict]) -> None:
        """Add an image.

        Args:
            found: By its class the mask, run-length encoded, of each class that was found.
            true: Likewise of each class that the image shows.
        """
        for label in {*found, *true}:
            masks = [masks[label] for masks in (found, true) if label in masks]
            self._either[label] += rle.area(rle.merge(masks))
            if len(masks) == 2:
                self._both[label] += rle.area(rle.merge(masks, intersect=True))
        self._is_shown[[label for label, mask in true.items() if rle.area(mask)]] = True

    def value(self) -> float:
        """The mean IoU in [0, 1].

        Raises:
            ValueError: If no image shows a class.
        """
        if not self._is_shown.any():
            raise ValueError('no image shows a class')
        return float((self._both[self._is_shown] / self._either[self._is_shown]).mean())
