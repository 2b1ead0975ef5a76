"""Which images of a data set have a label."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, RepeatDataset

from lfi.structures.labels import UNLABELLED


def raw_info(dataset: Any, index: int) -> dict:
    """A data info as the annotations have it, without what a data set draws or reads for it."""
    # Shapes draws its image in a `get_data_info` of its own.
    return (
        BaseDataset.get_data_info(dataset, index)
        if isinstance(dataset, BaseDataset)
        else dataset.get_data_info(index)
    )


def labelled_images(dataset: Any) -> np.ndarray:
    """Which images have a label, (N,) bool.

    An image has none where its data info has `unlabelled=True`, a `gt_label` below 0, or no annotation: no
    `gt_label`, no `instances`, were they none, and no `seg_map_path`.

    Args:
        dataset: of a classifier, a detector or a segmentor; mmengine's `ConcatDataset` and `RepeatDataset`
            may hold it.
    """
    own = getattr(dataset, 'labelled', None)
    if own is not None:
        # A data set of which a slice is used (`num_batch_per_epoch`) answers for all of it.
        return np.asarray(own)[: len(dataset)]
    if isinstance(dataset, RepeatDataset):
        return np.tile(labelled_images(dataset.dataset), dataset.times)
    parts = getattr(dataset, 'datasets', None)
    if parts is not None:
        return np.concatenate([labelled_images(part) for part in parts])[: len(dataset)]
    return np.array([_has_label(raw_info(dataset, i)) for i in range(len(dataset))], bool)


def mark_unlabelled(results: Any) -> Any:
    """Mark the sample that a pipeline gave of an image without a label, if it gave one; returns the same."""
    if results is not None and 'data_samples' in results:
        results['data_samples'].set_metainfo({UNLABELLED: True})
    return results


def _has_label(info: dict) -> bool:
    if info.get(UNLABELLED, False):
        return False
    if 'gt_label' in info:
        return bool(np.all(np.asarray(info['gt_label']) >= 0))
    return 'instances' in info or 'seg_map_path' in info
