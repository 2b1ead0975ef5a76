"""Stencils: rectangles, some with a mask, through which a picture shows an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .view_matrix import FROM_CENTRES, TO_CENTRES, from_pixels, to_pixels

# Resolution for masks and rotated rectangles: largest side of the picture in pixels, number of cells per side
# of the picture, number of sampled points per side of a cell.
RESOLUTIONS = ((256, 128, 2), (512, 128, 4), (float('inf'), 256, 4))
# 64 pixels per side: OpenCV rounds to 1/1024 of a pixel, too coarsely for a single pixel.
RECTANGLE = np.full((64, 64), 255, np.uint8)
FULL_WINDOW = np.array([[0.0, 1.0], [0.0, 1.0]])
# A length below a thousandth of a picture's side is a rounding error.
ROUNDING = 2e-3
CORNERS = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], np.float64)


@dataclass(frozen=True)
class Stencil:
    """A rectangle, with an optional mask, through which a picture shows an image.

    Args:
        matrix: (3, 3), from the picture's coordinates to the rectangle's, both from -1 to 1. Nothing is
            visible outside the rectangle.
        mask: (H, W) bool, visible part of the rectangle. Defaults to None: all of it.
    """

    matrix: np.ndarray
    mask: np.ndarray | None = None

    @property
    def is_upright_rectangle(self) -> bool:
        """Whether there is no mask and the rectangle is parallel to the picture's axes."""
        return self.mask is None and max(abs(self.matrix[0, 1]), abs(self.matrix[1, 0])) < 1e-9

    @property
    def hides_nothing(self) -> bool:
        """Whether there is no mask and the rectangle covers the picture."""
        return self.mask is None and bool((np.abs(self.matrix[:2] @ CORNERS) <= 1 + ROUNDING / 2).all())

    def transformed(self, matrix: np.ndarray) -> Stencil:
        """Move the stencil to another picture by a matrix (3, 3) from new coordinates to old coordinates."""
        return replace(self, matrix=self.matrix @ matrix)


FRAME = Stencil(np.eye(3))
"""The edges of a picture."""


def transform_stencils(stencils: Iterable[Stencil], matrix: np.ndarray) -> tuple[Stencil, ...]:
    """Move stencils to another picture, see `Stencil.transformed`; leave out stencils that hide nothing."""
    moved = (stencil.transformed(matrix) for stencil in stencils)
    return tuple(stencil for stencil in moved if not stencil.hides_nothing)


def draw_stencils(stencils: Sequence[Stencil], size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Draw the intersection of stencils over a picture.

    Upright rectangles give an exact window of one cell. Other stencils are drawn over the whole picture.

    Args:
        stencils: stencils over the picture.
        size: height and width of the picture in pixels. Larger pictures get a higher resolution.

    Returns:
        The window (2, 2) in the format of `Tiles`, and the visible share of each of its cells, (k, k) uint8
        in 255ths. The share is 0 if nothing is visible.
    """
    low, high = np.full(2, -1.0), np.full(2, 1.0)
    for stencil in stencils:
        if stencil.is_upright_rectangle:
            scale, origin = np.diag(stencil.matrix)[:2], stencil.matrix[:2, 2]
            ends = np.sort([(-1 - origin) / scale, (1 - origin) / scale], axis=0)
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    window = (np.stack((low, high), 1) + 1) / 2
    if (high - low < ROUNDING).any():
        return FULL_WINDOW, np.zeros((1, 1), np.uint8)
    if all(stencil.is_upright_rectangle for stencil in stencils):
        return window, np.full((1, 1), 255, np.uint8)
    cells, points = next(tuple(drawing) for pixels, *drawing in RESOLUTIONS if max(size[:2]) <= pixels)
    return FULL_WINDOW, _draw_coverage(stencils, cells, points)


def _draw_coverage(stencils: Sequence[Stencil], cells: int, points: int) -> np.ndarray:
    """Share of each cell of the picture that all stencils show, (cells, cells) uint8 in 255ths."""
    n = cells * points
    visible: np.ndarray = np.full((n, n), 255, np.uint8)
    for stencil in stencils:
        mask = RECTANGLE if stencil.mask is None else stencil.mask.astype(np.uint8) * 255
        # OpenCV counts from the centre of the first pixel.
        to_mask = TO_CENTRES @ to_pixels(mask.shape) @ stencil.matrix @ from_pixels((n, n))
        warped = cv2.warpAffine(
            mask, (to_mask @ FROM_CENTRES)[:2], (n, n), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        )
        visible = cv2.bitwise_and(visible, warped)
    return cv2.resize(visible, (cells, cells), interpolation=cv2.INTER_AREA)
