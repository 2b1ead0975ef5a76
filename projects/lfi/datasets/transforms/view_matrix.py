"""View matrices: maps from the pixels of a transform's output to the pixels of its input.

A matrix is (3, 3) float64 and maps (x, y, 1), where pixel i of a row covers i to i + 1. `view_rules` has a
rule for each type of transform.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from mmcv.transforms import BaseTransform

# Height and width.
Size = tuple[int, int]

# OpenCV counts from the centre of the first pixel.
FROM_CENTRES = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
TO_CENTRES = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])


@singledispatch
def view_matrix(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """Return the view matrix of a transform, (3, 3), from its output's pixels to its input's.

    Add a rule for your own transform by `@view_matrix.register`, or by
    `view_matrix.register(YourTransform, erasing)` if it paints over parts of the image. In a rule, methods
    that mmcv's `cache_randomness` decorates return the same draws as in the transform.

    Args:
        transform: transform that has just run.
        before: height and width of its input in pixels.
        results: output of the transform.

    Raises:
        TypeError: if there is no rule for this type of transform.
    """
    raise TypeError(no_rule_message(transform))


def has_rule(transform: BaseTransform) -> bool:
    """Whether `view_matrix` has a rule for this type of transform."""
    return view_matrix.dispatch(type(transform)) is not view_matrix.dispatch(object)


def no_rule_message(transform: BaseTransform) -> str:
    """Return the error message for a transform without a rule."""
    return (
        f'{type(transform).__name__}: there is no rule for where it moves pixels. Leave it out, apply it '
        'before the images are cached, or add a rule by @lfi.datasets.transforms.view_matrix.register'
    )


def identity(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """Rule of transforms that move no pixel and keep the size."""
    return np.eye(3)


def erasing(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """Rule of transforms that paint over parts of the input and move no pixel.

    `RecordView` compares the pixels: those that have changed no longer show the image.
    """
    return np.eye(3)


def erases(transform: BaseTransform) -> bool:
    """Whether the rule of a transform is `erasing`."""
    return view_matrix.dispatch(type(transform)) is erasing


def scale(size: tuple[int, ...], new_size: tuple[int, ...]) -> np.ndarray:
    """Return the view matrix of a resize from `size` to `new_size`, both (height, width)."""
    return np.diag([size[1] / new_size[1], size[0] / new_size[0], 1.0])


def resized(transform: BaseTransform, before: Size, results: dict) -> np.ndarray:
    """Rule of transforms that resize the whole image."""
    return scale(before, results['img'].shape)


def offset(x: float, y: float) -> np.ndarray:
    """Return the view matrix of a crop that starts at the pixel (x, y)."""
    matrix = np.eye(3)
    matrix[:2, 2] = x, y
    return matrix


def rotation(degrees: float, center: tuple[float, float] | None, zoom: float, before: Size) -> np.ndarray:
    """Return the view matrix of a rotation by OpenCV.

    Args:
        degrees: angle, positive for clockwise on the screen, where y points down.
        center: x and y from the centre of the first pixel. None for the centre of the input.
        zoom: factor of enlargement.
        before: height and width of the input in pixels.
    """
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    x, y = center or ((before[1] - 1) / 2, (before[0] - 1) / 2)
    rotate = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    forward = offset(x, y) @ rotate @ offset(-x, -y)
    return FROM_CENTRES @ np.linalg.inv(forward) @ TO_CENTRES


def to_pixels(size: tuple[int, ...]) -> np.ndarray:
    """Return the matrix from coordinates in [-1, 1] to the pixels of a picture of (height, width)."""
    height, width = size[:2]
    return np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])


def from_pixels(size: tuple[int, ...]) -> np.ndarray:
    """Return the inverse of `to_pixels`, without the general inversion that each step would need."""
    height, width = size[:2]
    return np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
