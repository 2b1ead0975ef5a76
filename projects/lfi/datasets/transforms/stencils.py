"""Where a picture shows an image: through rectangles and masks, each laid over the picture by a matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .view_matrix import FROM_CENTRES, TO_CENTRES, to_pixels

# How masks, and rectangles that a view rotates, are drawn: for pictures of up to so many pixels on so many
# cells a side, each by so many points squared.
DRAWN = ((256, 128, 2), (512, 128, 4), (float('inf'), 256, 4))
# OpenCV counts in 1024ths of a pixel: of one pixel they are too coarse for a small part of a large frame.
RECTANGLE = np.full((64, 64), 255, np.uint8)
EVERYWHERE = np.array([[0.0, 1.0], [0.0, 1.0]])
# Less than a thousandth of a picture is rounding.
ROUNDING = 2e-3
CORNERS = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], np.float64)


@dataclass(frozen=True)
class Stencil:
    """Through what a picture shows an image: a rectangle, or what a mask over it leaves.

    Args:
        matrix: (3, 3), from the picture's coordinates to the rectangle's, both from -1 to 1; nothing shows
            beyond it.
        mask: (H, W) bool, over the rectangle, where the image shows. Defaults to None: everywhere.
    """

    matrix: np.ndarray
    mask: np.ndarray | None = None

    @property
    def is_upright_rectangle(self) -> bool:
        """Whether it has no mask, and the picture's axes."""
        return self.mask is None and max(abs(self.matrix[0, 1]), abs(self.matrix[1, 0])) < 1e-9

    @property
    def hides_nothing(self) -> bool:
        """Whether all of the picture lies in the rectangle, and no mask is over it."""
        return self.mask is None and bool((np.abs(self.matrix[:2] @ CORNERS) <= 1 + ROUNDING / 2).all())

    def seen(self, matrix: np.ndarray) -> Stencil:
        """The same over another picture, given the way from the other's coordinates to this one's."""
        return replace(self, matrix=self.matrix @ matrix)


FRAME = Stencil(np.eye(3))
"""A picture's own edges."""


def seen_through(stencils: Iterable[Stencil], matrix: np.ndarray) -> tuple[Stencil, ...]:
    """Stencils over another picture, as `Stencil.seen`; those that hide nothing there are left out."""
    return tuple(one for stencil in stencils if not (one := stencil.seen(matrix)).hides_nothing)


def drawn(stencils: Sequence[Stencil], size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """In which part of a picture stencils show something, and how much of each of its cells.

    Upright rectangles meet in a rectangle, exactly, of one cell; others are drawn over the complete picture.

    Args:
        stencils: over the picture.
        size: its height and width in pixels: a larger one is drawn finer.

    Returns:
        The part (2, 2), as `Tiles` has it, and the cover of its cells, uint8 in 255ths, 0 for an empty part.
    """
    low, high = np.full(2, -1.0), np.full(2, 1.0)
    for stencil in stencils:
        if stencil.is_upright_rectangle:
            scale, origin = np.diag(stencil.matrix)[:2], stencil.matrix[:2, 2]
            ends = np.sort([(-1 - origin) / scale, (1 - origin) / scale], axis=0)
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    window = (np.stack((low, high), 1) + 1) / 2
    if (high - low < ROUNDING).any():
        return EVERYWHERE, np.zeros((1, 1), np.uint8)
    if all(one.is_upright_rectangle for one in stencils):
        return window, np.full((1, 1), 255, np.uint8)
    cells, points = next(tuple(how) for pixels, *how in DRAWN if max(size[:2]) <= pixels)
    return EVERYWHERE, _cover(stencils, cells, points)


def _cover(stencils: Sequence[Stencil], cells: int, points: int) -> np.ndarray:
    """How much of each of the picture's cells all stencils let through, (cells, cells) uint8 in 255ths."""
    n = cells * points
    through: np.ndarray = np.full((n, n), 255, np.uint8)
    for stencil in stencils:
        mask = RECTANGLE if stencil.mask is None else stencil.mask.astype(np.uint8) * 255
        # OpenCV counts from the middle of the first pixel.
        to_mask = TO_CENTRES @ to_pixels(mask.shape) @ stencil.matrix @ np.linalg.inv(to_pixels((n, n)))
        shown = cv2.warpAffine(
            mask, (to_mask @ FROM_CENTRES)[:2], (n, n), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        )
        through = cv2.bitwise_and(through, shown)
    return cv2.resize(through, (cells, cells), interpolation=cv2.INTER_AREA)
