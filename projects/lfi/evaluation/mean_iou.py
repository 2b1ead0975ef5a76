"""Mean IoU of semantic segmentation, by run-length encoded masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pycocotools import mask as rle


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
