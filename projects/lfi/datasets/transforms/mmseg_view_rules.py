"""View-matrix rules for mmseg's transforms, which do not record how they move pixels."""

from __future__ import annotations

import numpy as np
from mmseg.datasets.transforms import transforms as mmseg_transforms

from .view_matrix import Size, erasing, identity, offset, resized, rotation, view_matrix

for _type in (
    mmseg_transforms.AdjustGamma,
    mmseg_transforms.CLAHE,
    mmseg_transforms.GenerateEdge,
    mmseg_transforms.PhotoMetricDistortion,
    mmseg_transforms.Rerange,
    mmseg_transforms.RGB2Gray,
    # It resizes the annotation alone.
    mmseg_transforms.SegRescale,
):
    view_matrix.register(_type, identity)

view_matrix.register(mmseg_transforms.RandomCutOut, erasing)

for _type in (mmseg_transforms.ResizeShortestEdge, mmseg_transforms.ResizeToMultiple):
    view_matrix.register(_type, resized)


@view_matrix.register
def _random_crop(transform: mmseg_transforms.RandomCrop, before: Size, results: dict) -> np.ndarray:
    # The draw is cached, so its argument does not matter.
    top, _, left, _ = transform.crop_bbox(results)
    return offset(left, top)


@view_matrix.register
def _random_rotate(transform: mmseg_transforms.RandomRotate, before: Size, results: dict) -> np.ndarray:
    rotates, degrees = transform.generate_degree()
    if not rotates:
        return np.eye(3)
    matrix = rotation(degrees, transform.center, 1.0, before)
    if not transform.auto_bound:
        return matrix
    # The picture grows equally on all sides. The growth is rounded afterwards.
    height, width = before
    cos, sin = abs(np.cos(np.deg2rad(degrees))), abs(np.sin(np.deg2rad(degrees)))
    growth = height * sin + width * cos - width, width * sin + height * cos - height
    return matrix @ offset(-growth[0] / 2, -growth[1] / 2)
