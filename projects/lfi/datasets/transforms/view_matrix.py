"""Where a transform's output shows its input.

Matrices are (3, 3) float64 and lead from the output's pixels to the input's, (x, y, 1), where pixel i of a
row covers i to i + 1. `view_rules` has the rules, one for each kind of transform.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from mmcv.transforms import BaseTransform

# Height and width.
Size = tuple[int, int]

# OpenCV counts from the middle of the first pixel.
FROM_CENTRES = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
TO_CENTRES = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])


@singledispatch
def view_matrix(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """Where the output of a transform shows its input.

    Add a rule for a transform of your own with `@view_matrix.register`, for one that paints over parts of the
    image `view_matrix.register(YourTransform, erasing)`. In a rule, the random draws that mmcv's
    `cache_randomness` decorates give what they gave in the transform.

    Args:
        transform: it has just run.
        before: height and width of its input.
        results: its output.

    Raises:
        TypeError: if there is no rule for this kind of transform.
    """
    raise TypeError(no_rule(transform))


def has_rule(transform: BaseTransform) -> bool:
    """Whether `view_matrix` knows this kind of transform."""
    return view_matrix.dispatch(type(transform)) is not view_matrix.dispatch(object)


def no_rule(transform: BaseTransform) -> str:
    """What to say of a transform without a rule."""
    return (
        f'{type(transform).__name__}: it is not known where its output shows its input. Leave it out, put it '
        'before the images are cached, or add a rule: @lfi.datasets.transforms.view_matrix.register'
    )


def identity(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """The rule of a transform that moves no pixel and keeps the size."""
    return np.eye(3)


def erasing(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """The rule of a transform that paints over parts of its input, and moves no pixel.

    `RecordView` finds the parts by their pixels: those that have changed show nothing any more.
    """
    return np.eye(3)


def erases(transform: BaseTransform) -> bool:
    """Whether a transform is of a kind that has the rule `erasing`."""
    return view_matrix.dispatch(type(transform)) is erasing


def scale(size: tuple[int, ...], to: tuple[int, ...]) -> np.ndarray:
    """Where an output of one (height, width) shows all of an input of another."""
    return np.diag([size[1] / to[1], size[0] / to[0], 1.0])


def resized(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """The rule of a transform that resizes the whole image."""
    return scale(before, results['img'].shape)


def offset(x: float, y: float) -> np.ndarray:
    """Where an output shows its input from the pixel (x, y) on."""
    matrix = np.eye(3)
    matrix[:2, 2] = x, y
    return matrix


def rotation(degrees: float, center: tuple[float, float] | None, zoom: float, before: Size) -> np.ndarray:
    """Where an output shows an input that was turned as OpenCV turns it.

    Args:
        degrees: positive is clockwise on the screen, where y points down.
        center: x and y, counted from the middle of the first pixel. None: the input's centre.
        zoom: by which it was enlarged as well.
        before: the input's height and width.
    """
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    x, y = center or ((before[1] - 1) / 2, (before[0] - 1) / 2)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    forward = offset(x, y) @ turn @ offset(-x, -y)
    return FROM_CENTRES @ np.linalg.inv(forward) @ TO_CENTRES


def to_pixels(size: tuple[int, ...]) -> np.ndarray:
    """From coordinates between -1 and 1 to the pixels of a picture of (height, width)."""
    height, width = size[:2]
    return np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
