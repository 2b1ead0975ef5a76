"""Regions of the classes of an image, from its masks or boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lfi.errors import UsageError


@dataclass(frozen=True)
class AnnotatedObjects:
    """The N annotated objects of an image.

    Args:
        masks: (N, H, W) bool, masks of the objects.
        labels: (N,) int, class labels.
        ignored: (N,) bool, objects to ignore, such as crowds.
    """

    masks: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray

    def regions(self) -> dict[int, np.ndarray]:
        """Return the region of each class, (H, W) bool, without ignored objects."""
        return _union_by_label(self.masks[~self.ignored], self.labels[~self.ignored])

    def crowds(self) -> dict[int, np.ndarray]:
        """Return the region of each class's ignored objects, (H, W) bool.

        A crowd has no single object to point at, but the image shows its class.
        """
        return _union_by_label(self.masks[self.ignored], self.labels[self.ignored])


def objects_of(results: Mapping) -> AnnotatedObjects:
    """Return the annotated objects of an image.

    Args:
        results: results of a pipeline before packing: `img`; `gt_masks`, (N, H, W) or mmdet's mask
            structures, or else `gt_bboxes`, (N, 4) or mmdet's boxes, x1 y1 x2 y2 in pixels; the classes
            `gt_bboxes_labels`, or one `gt_label` for all objects; and optionally `gt_ignore_flags`, (N,).

    Raises:
        UsageError: if there are neither masks nor boxes, or the masks do not have the size of the image.
    """
    height, width = results['img'].shape[:2]
    if 'gt_masks' in results:
        masks = results['gt_masks']
        masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks
    elif 'gt_bboxes' in results:
        boxes = results['gt_bboxes']
        masks = _box_masks(np.asarray(getattr(boxes, 'tensor', boxes)), height, width)
    else:
        raise UsageError(
            'the data set gives no gt_masks and no gt_bboxes: there is nothing to point at. '
            'Use a data set with boxes or masks'
        )
    masks = np.asarray(masks).astype(bool)
    if not masks.size:
        masks = masks.reshape(0, height, width)
    if masks.shape[1:] != (height, width):
        raise UsageError(
            f'gt_masks has the shape {masks.shape}, but the image has {height} x {width} pixels: masks must '
            'have the size of the image, (N, H, W)'
        )
    labels = results.get('gt_bboxes_labels')
    labels = np.full(len(masks), results['gt_label']) if labels is None else np.asarray(labels)
    ignored = np.asarray(results.get('gt_ignore_flags', np.zeros(len(masks))), bool)
    return AnnotatedObjects(masks, labels, ignored)


def regions_of(results: Mapping) -> dict[int, np.ndarray]:
    """Return the region of each class of an image, without ignored objects.

    Args:
        results: results of a pipeline; see `objects_of`.

    Returns:
        Label to region, (H, W) bool. Empty if nothing is annotated.

    Raises:
        UsageError: if there are neither masks nor boxes.
    """
    return objects_of(results).regions()


def _union_by_label(masks: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    """Union (H, W) of the masks (N, H, W) of each label in (N,), without empty unions."""
    return {
        int(label): region for label in np.unique(labels) if (region := masks[labels == label].any(0)).any()
    }


def _box_masks(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    left, top, right, bottom = boxes.reshape(-1, 4).T
    return _covered_pixels(top, bottom, height)[:, :, None] & _covered_pixels(left, right, width)[:, None]


def _covered_pixels(start: np.ndarray, end: np.ndarray, size: int) -> np.ndarray:
    """Mask (N, size) of the pixels whose centres lie in each interval; of its middle pixel if none do."""
    centres = np.arange(size) + 0.5
    covered = (start[:, None] <= centres) & (centres < end[:, None])
    middle = np.floor((start + end) / 2).astype(int)
    thin = (start < end) & ~covered.any(1) & (middle >= 0) & (middle < size)
    covered[thin, middle[thin]] = True
    return covered
