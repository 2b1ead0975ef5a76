"""View-matrix rules for mmdet's transforms, most of which record a homography matrix."""

from __future__ import annotations

from typing import Any

import mmcv
import numpy as np
from mmdet.datasets import transforms as mmdet_transforms
from mmdet.datasets.transforms import colorspace, geometric

from .view_matrix import FROM_CENTRES, TO_CENTRES, Size, erasing, identity, offset, scale, view_matrix

for _type in (
    mmdet_transforms.FilterAnnotations,
    mmdet_transforms.PhotoMetricDistortion,
    mmdet_transforms.YOLOXHSVRandomAug,
    colorspace.ColorTransform,
    colorspace.AutoContrast,
    colorspace.Equalize,
    colorspace.Invert,
):
    view_matrix.register(_type, identity)


for _type in (mmdet_transforms.CutOut, mmdet_transforms.RandomErasing):
    view_matrix.register(_type, erasing)


@view_matrix.register
def _fix_shape_resize(transform: mmdet_transforms.FixShapeResize, before: Size, results: dict) -> np.ndarray:
    # The output is padded and its homography is not rounded: compute the size before padding.
    size = transform.scale
    if transform.keep_ratio:
        size = mmcv.rescale_size(before[::-1], results['scale'])
    return scale(before, size[::-1])


@view_matrix.register(mmdet_transforms.RandomCrop)
@view_matrix.register(geometric.GeomTransform)
def _recorded_homography(transform: Any, before: Size, results: dict) -> np.ndarray:
    # RecordView removes the matrix of earlier transforms, so this is the matrix of this transform alone.
    forward = results.get('homography_matrix', np.eye(3)).astype(np.float64)
    return FROM_CENTRES @ np.linalg.inv(forward) @ TO_CENTRES


@view_matrix.register
def _random_affine(transform: mmdet_transforms.RandomAffine, before: Size, results: dict) -> np.ndarray:
    # The draw is cached, so its arguments do not matter.
    forward = transform._get_random_homography_matrix(0, 0).astype(np.float64)
    return FROM_CENTRES @ np.linalg.inv(forward) @ TO_CENTRES


@view_matrix.register
def _expand(transform: mmdet_transforms.Expand, before: Size, results: dict) -> np.ndarray:
    if transform._random_prob() > transform.prob:
        return np.eye(3)
    left, top = transform._random_left_top(0, 0, 0)
    return offset(-left, -top)
