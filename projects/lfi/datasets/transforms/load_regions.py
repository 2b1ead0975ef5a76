"""Where an image shows each of its classes, carried along with what becomes of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from torch import Tensor

from lfi.datasets.regions import objects_of
from lfi.registry import TRANSFORMS

from .record_view import RecordView


@TRANSFORMS.register_module()
class LoadRegions(BaseTransform):
    """Notes where an image shows each of its classes, for `lfi.SemanticConsistencyMetric`.

    It stands after what loads the image and its annotations, and holds all transforms that move pixels.

    It sets `regions`, for each class that can be seen in the transformed image a (h, w) bool array; `crowds`,
    the classes that only ignored objects show there, such as COCO's crowds; and brings `heat_maps`, if
    `lfi.LoadHeatMap` set them, to the same view and size. Pass them on by
    `PackInputs(algorithm_keys=('regions', 'heat_maps'))`, in detection by
    `PackDetInputs(meta_keys=(..., 'regions', 'crowds', 'heat_maps'))`.

    Args:
        transforms: configs or transforms, as `RecordView` takes them. Defaults to (): nothing moves.

    Raises:
        ValueError: if a transform is one that `RecordView` cannot follow; or, for an image, if it has been
            changed before, or has no masks, boxes or heat maps.
    """

    def __init__(self, transforms: Sequence = ()) -> None:
        self.record_view = RecordView(transforms)

    def transform(self, results: dict) -> dict | None:
        """Set `regions` and `crowds`, and run the transforms."""
        size, loaded = results['img'].shape[:2], results.get('ori_shape')
        if (loaded is not None and tuple(loaded[:2]) != size) or results.get('flip'):
            raise ValueError(
                f'lfi.LoadRegions: the image, {size} pixels, has been changed since it was loaded with '
                f'{loaded}, so its annotations may lie elsewhere. Put the transforms that move pixels into '
                "dict(type='lfi.LoadRegions', transforms=[...]), and load the annotations before it"
            )
        annotated = 'gt_masks' in results or 'gt_bboxes' in results
        readable = annotated or 'heat_maps' not in results
        found = objects_of(results) if readable else None
        regions, crowds = ({}, {}) if found is None else (found.regions(), found.crowds())
        seen: dict | None = self.record_view(results)
        if seen is None:
            return None
        results = seen
        view, size = results['view'], results['img'].shape[:2]
        results['regions'] = _regions_in_view(regions, view, size)
        results['crowds'] = sorted(_regions_in_view(crowds, view, size).keys() - results['regions'].keys())
        if 'heat_maps' in results:
            results['heat_maps'] = {
                concept: shown
                for concept, heat in results['heat_maps'].items()
                if (shown := _in_view(torch.from_numpy(heat), view, size, 'bilinear')).any()
            }
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.record_view})'


def _regions_in_view(
    regions: Mapping[int, np.ndarray], view: Tensor, size: tuple[int, int]
) -> dict[int, np.ndarray]:
    """What a view shows of each region (H, W) bool, as (h, w) bool; none of one that it leaves out."""
    return {
        concept: shown.astype(bool)
        for concept, mask in regions.items()
        if (shown := _in_view(torch.from_numpy(mask).float(), view, size, 'nearest')).any()
    }


def _in_view(picture: Tensor, view: Tensor, size: tuple[int, int], mode: str) -> np.ndarray:
    """What a view (2, 3) of size (h, w) shows of a picture (H, W) float; 0 beyond it."""
    points = F.affine_grid(view[None], [1, 1, *size], align_corners=False)
    shown = F.grid_sample(picture[None, None], points, mode, padding_mode='border', align_corners=False)[0, 0]
    # An array: workers hand tensors over by files, of which a process may not open many.
    return (shown * (points[0].abs() <= 1).all(-1)).numpy()
