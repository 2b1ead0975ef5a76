"""View-matrix rules for the transforms of mmcv and mmpretrain."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from mmcv import transforms as mmcv_transforms
from mmpretrain.datasets import transforms as mmpretrain_transforms
from mmpretrain.datasets.transforms import auto_augment

from .view_matrix import (
    FROM_CENTRES,
    TO_CENTRES,
    Size,
    erasing,
    identity,
    offset,
    resized,
    rotation,
    scale,
    view_matrix,
)


def learn_rules(kinds: Iterable[type]) -> None:
    """Import the rules for types of mmdet and mmseg. Either package may be missing."""
    projects = {base.__module__.partition('.')[0] for kind in kinds for base in kind.__mro__}
    if 'mmdet' in projects:
        from . import mmdet_view_rules  # noqa: F401
    if 'mmseg' in projects:
        from . import mmseg_view_rules  # noqa: F401


def moves_nothing(kind: object) -> bool:
    """Whether transforms of this type move no pixel and keep the size."""
    if not isinstance(kind, type):
        return False
    learn_rules([kind])
    return view_matrix.dispatch(kind) is identity


# Transforms that load or change colours only.
for _type in (
    mmcv_transforms.LoadAnnotations,
    mmcv_transforms.LoadImageFromFile,
    mmcv_transforms.Normalize,
    mmcv_transforms.RandomGrayscale,
    mmpretrain_transforms.ColorJitter,
    mmpretrain_transforms.Lighting,
    auto_augment.AutoContrast,
    auto_augment.Brightness,
    auto_augment.ColorTransform,
    auto_augment.Contrast,
    auto_augment.Equalize,
    auto_augment.GaussianBlur,
    auto_augment.Invert,
    auto_augment.Posterize,
    auto_augment.Sharpness,
    auto_augment.Solarize,
    auto_augment.SolarizeAdd,
):
    view_matrix.register(_type, identity)


for _type in (mmpretrain_transforms.RandomErasing, auto_augment.Cutout):
    view_matrix.register(_type, erasing)


@view_matrix.register
def _pad(transform: mmcv_transforms.Pad, before: Size, results: dict) -> np.ndarray:
    # Padding is added below and on the right.
    return np.eye(3)


for _type in (
    mmcv_transforms.Resize,
    mmcv_transforms.RandomResize,
    mmcv_transforms.RandomChoiceResize,
    mmpretrain_transforms.ResizeEdge,
):
    view_matrix.register(_type, resized)


@view_matrix.register
def _flip(transform: mmcv_transforms.RandomFlip, before: Size, results: dict) -> np.ndarray:
    matrix = np.eye(3)
    direction = results['flip_direction'] if results['flip'] else None
    if direction in ('horizontal', 'diagonal'):
        matrix[0] = -1, 0, before[1]
    if direction in ('vertical', 'diagonal'):
        matrix[1] = 0, -1, before[0]
    return matrix


@view_matrix.register
def _random_resized_crop(
    transform: mmpretrain_transforms.RandomResizedCrop, before: Size, results: dict
) -> np.ndarray:
    top, left, height, width = transform.rand_crop_params(None)
    return offset(left, top) @ scale((height, width), results['img'].shape)


@view_matrix.register
def _random_crop(transform: mmpretrain_transforms.RandomCrop, before: Size, results: dict) -> np.ndarray:
    left_pad, top_pad = _padding(transform, before)
    top, left, _, _ = transform.rand_crop_params(None)
    return offset(left - left_pad, top - top_pad)


@view_matrix.register
def _centre_crop(transform: mmcv_transforms.CenterCrop, before: Size, results: dict) -> np.ndarray:
    height, width = results['img'].shape[:2]
    # Padding is added on the right and below before the crop.
    padded = max(before[0], height), max(before[1], width)
    return offset(round((padded[1] - width) / 2), round((padded[0] - height) / 2))


@view_matrix.register
def _shear(transform: auto_augment.Shear, before: Size, results: dict) -> np.ndarray:
    if transform.random_disable():
        return np.eye(3)
    forward = np.eye(3)
    row, column = (0, 1) if transform.direction == 'horizontal' else (1, 0)
    forward[row, column] = _magnitude(transform, transform.magnitude)
    return FROM_CENTRES @ np.linalg.inv(forward) @ TO_CENTRES


@view_matrix.register
def _translate(transform: auto_augment.Translate, before: Size, results: dict) -> np.ndarray:
    if transform.random_disable():
        return np.eye(3)
    magnitude = _magnitude(transform, transform.magnitude)
    if transform.direction == 'horizontal':
        return offset(-magnitude * before[1], 0)
    return offset(0, -magnitude * before[0])


@view_matrix.register
def _rotate(transform: auto_augment.Rotate, before: Size, results: dict) -> np.ndarray:
    if transform.random_disable():
        return np.eye(3)
    return rotation(_magnitude(transform, transform.angle), transform.center, transform.scale, before)


def _magnitude(transform: auto_augment.BaseAugTransform, fixed: float | None) -> float:
    # The draw is cached, so its argument does not matter.
    return transform.random_negative(fixed)


def _padding(transform: mmpretrain_transforms.RandomCrop, before: tuple[int, int]) -> tuple[int, int]:
    """Return the pixels that RandomCrop adds on the left and above."""
    padding = transform.padding or 0
    if isinstance(padding, int):
        padding = (padding, padding)
    left, top = padding[:2]
    right, bottom = padding[2:] or padding
    if transform.pad_if_needed:
        height, width = before[0] + top + bottom, before[1] + left + right
        top += max(0, -(-(transform.crop_size[0] - height) // 2))
        left += max(0, -(-(transform.crop_size[1] - width) // 2))
    return left, top
