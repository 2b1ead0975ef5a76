"""Annotations of an image, beside which a prediction is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IGNORED = 255
"""Label of the pixels of a segmentation that have no class, as in mmseg."""


@dataclass(frozen=True)
class Truth:
    """Annotations of an image.

    Args:
        labels: labels of the image, of its N objects, or of its segments. Empty if nothing is known.
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the loaded image. Defaults to None: no detection.
        segmentation: (H, W) labels of the pixels, or 255. Defaults to None: no segmentation.
    """

    labels: tuple[int, ...]
    boxes: np.ndarray | None = None
    segmentation: np.ndarray | None = None
