"""Where an image shows each of its concepts, whatever the data set keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lfi.errors import UsageError


@dataclass(frozen=True)
class AnnotatedObjects:
    """The N objects of an image.

    Args:
        masks: (N, H, W) bool.
        labels: (N,) int, their classes.
        ignored: (N,) bool, what does not count, such as crowds.
    """

    masks: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray

    def regions(self) -> dict[int, np.ndarray]:
        """Where any object of each class is, (H, W) bool, but for those that do not count."""
        return _merged(self.masks[~self.ignored], self.labels[~self.ignored])

    def crowds(self) -> dict[int, np.ndarray]:
        """Where those are that do not count, likewise.

        Nobody can point at one object of a crowd, and the image shows its class all the same.
        """
        return _merged(self.masks[self.ignored], self.labels[self.ignored])


def objects_of(results: Mapping) -> AnnotatedObjects:
    """The objects of an image.

    Args:
        results: what a data set's pipeline gives before it packs: `img`; `gt_masks`, (N, H, W) or mmdet's
            mask structures, or else `gt_bboxes`, (N, 4) or mmdet's boxes, x1 y1 x2 y2 in pixels; and their
            classes `gt_bboxes_labels`, or one `gt_label` for all. What `gt_ignore_flags` marks, such as
            crowds, is ignored.

    Raises:
        UsageError: if there are neither masks nor boxes, or masks have another size than their image.
    """
    height, width = results['img'].shape[:2]
    if 'gt_masks' in results:
        masks = results['gt_masks']
        masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks
    elif 'gt_bboxes' in results:
        boxes = results['gt_bboxes']
        masks = _filled(np.asarray(getattr(boxes, 'tensor', boxes)), height, width)
    else:
        raise UsageError(
            'the data set gives no gt_masks and no gt_bboxes: there is nothing to point at. '
            'Give one with boxes or masks'
        )
    masks = np.asarray(masks).astype(bool)
    if not masks.size:
        masks = masks.reshape(0, height, width)
    if masks.shape[1:] != (height, width):
        raise UsageError(
            f'gt_masks has the shape {masks.shape}, and its image {height} x {width} pixels: masks must be '
            'as large as their image, (N, H, W)'
        )
    labels = results.get('gt_bboxes_labels')
    labels = np.full(len(masks), results['gt_label']) if labels is None else np.asarray(labels)
    ignored = np.asarray(results.get('gt_ignore_flags', np.zeros(len(masks))), bool)
    return AnnotatedObjects(masks, labels, ignored)


def regions_of(results: Mapping) -> dict[int, np.ndarray]:
    """The regions of the classes of an image, each (H, W) bool, of the objects that are not ignored.

    Args:
        results: as `objects_of` takes them.

    Returns:
        For each class, where any of its objects is; empty where nothing is annotated.

    Raises:
        UsageError: if there are neither masks nor boxes.
    """
    return objects_of(results).regions()


def _merged(masks: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    """The union (H, W) of the masks (N, H, W) of each of the labels (N,), where it is not empty."""
    return {
        int(label): region for label in np.unique(labels) if (region := masks[labels == label].any(0)).any()
    }


def _filled(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    left, top, right, bottom = boxes.reshape(-1, 4).T
    return _covered(top, bottom, height)[:, :, None] & _covered(left, right, width)[:, None]


def _covered(start: np.ndarray, end: np.ndarray, size: int) -> np.ndarray:
    """The pixels whose middles each of N intervals covers, (N, size); at least the one it lies in."""
    middles = np.arange(size) + 0.5
    covered = (start[:, None] <= middles) & (middles < end[:, None])
    inside = np.floor((start + end) / 2).astype(int)
    thin = (start < end) & ~covered.any(1) & (inside >= 0) & (inside < size)
    covered[thin, inside[thin]] = True
    return covered
