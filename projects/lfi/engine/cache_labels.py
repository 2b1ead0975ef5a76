"""Check that the concepts of a cache were selected by labels that are known in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheManifest, checksum, image_keys
from lfi.utils.config_types import dataset_configs, leaf_configs, type_name

KNOWN, HIDDEN, MIXED = 'known', 'hidden', 'mixed'
UNLABELLED_TYPES = ('FewLabels', 'ImageFolder')
"""Types of data sets that hide labels or have none."""


def label_visibility(dataset: object, reads_labels: bool = True) -> str:
    """Return whether `lfi cache` sees the labels of a data set when it selects concepts.

    Args:
        dataset: config of a data set, with data sets inside it at any depth.
        reads_labels: whether training reads labels. Defaults to True.

    Returns:
        'known' if all labels are visible; 'hidden' if none are, as with `lfi.ImageFolder` or `lfi.FewLabels`;
        'mixed' for data sets of both kinds.
    """
    if not reads_labels:
        return HIDDEN
    # Data sets beside the first of a `SemiSupervisedDataset` have no labels, whatever their type.
    has_unlabelled = any(type_name(part) == 'SemiSupervisedDataset' for part in dataset_configs(dataset))
    hidden = [hides_labels(part) for part in leaf_configs(dataset, stop_at=hides_labels)]
    if all(hidden):
        return HIDDEN
    return MIXED if any(hidden) or has_unlabelled else KNOWN


def mixed_labels(dataset: Any, name_parts: int) -> str:
    """Return 'mixed DIGEST' for data of which some are labelled, from the names and labels of these images.

    Args:
        dataset: data set with the labels that `lfi cache` sees, from `lfi.datasets.unaugmented`.
        name_parts: number of last path parts that identify an image.
    """
    # Imported here because it imports mmpretrain.
    from lfi.datasets.labelled_images import label_digest, labelled_mask

    infos = [dataset.get_data_info(index) for index in np.flatnonzero(labelled_mask(dataset)).tolist()]
    keys = image_keys([info['img_path'] for info in infos], name_parts)
    labels = np.array([label_digest(info) for info in infos], np.uint64)
    pairs = np.stack((keys, labels), 1)
    return f'{MIXED} {checksum(np.unique(pairs, axis=0).tobytes())[:8]}'


def check_labels_of_cache(cache: str | Path, dataset: Any, reads_labels: bool = True) -> None:
    """Refuse a cache whose concepts were selected by other labels than those known in training.

    With `teacher.max_concepts` a cache holds the maps of selected concepts only. Selection by labels reveals
    labels that `lfi.FewLabels` hides. Selection without labels may leave out the concept of a known label.
    Where all labels are known, `lfi.LoadInteractionMaps` compares those of each image.

    Args:
        cache: folder of the cache. A folder without a manifest passes; opening it raises a better error.
        dataset: config of the training data.
        reads_labels: whether training reads labels. Defaults to True.

    Raises:
        UsageError: if the cache holds selected maps and was written with other labels.
    """
    if not (Path(cache) / 'manifest.json').is_file():
        return
    manifest = CacheManifest.read(Path(cache))
    if not manifest.has_chosen_concepts:
        return
    expected = label_visibility(dataset, reads_labels)
    if expected == MIXED and (manifest.labels or '').startswith(MIXED):
        expected = mixed_labels(_built(dataset), manifest.name_parts)
    if manifest.labels == expected:
        return
    raise UsageError(
        f'model.teacher.cache={str(cache)!r} holds the maps of selected concepts only '
        f'(teacher.max_concepts={manifest.teacher.get("max_concepts")}), which depend on labels: the cache '
        f'was written with labels={manifest.labels!r}, but train_dataloader.dataset has labels={expected!r}. '
        'Write another cache by lfi cache with the config of this training; or set '
        'model.teacher.max_concepts=None and no model.teacher.background for a cache that serves all labels'
    )


def _built(dataset: Any) -> Any:
    """Build a data set with the labels that `lfi cache` sees."""
    from lfi.datasets import unaugmented

    return DATASETS.build(unaugmented(dataset))


def hides_labels(dataset: dict) -> bool:
    """Whether the data set of a config is `lfi.FewLabels` or `lfi.ImageFolder`."""
    return type_name(dataset) in UNLABELLED_TYPES
