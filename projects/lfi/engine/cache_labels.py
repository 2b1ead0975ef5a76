"""Check that the concepts of a cache were selected by labels that are known in training."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheManifest
from lfi.utils.config_types import dataset_configs, leaf_configs, type_name

KNOWN, HIDDEN = 'known', 'hidden'
UNLABELLED_TYPES = ('FewLabels', 'ImageFolder')
"""Types of data sets that hide labels or have none."""


def label_visibility(dataset: object, reads_labels: bool = True) -> str:
    """Return whether `lfi cache` sees the labels of a data set when it selects concepts.

    Args:
        dataset: config of a data set, with data sets inside it at any depth.
        reads_labels: whether training reads labels. Defaults to True.

    Returns:
        'known' if all labels are visible; 'hidden' if none are, as with `lfi.ImageFolder` or `lfi.FewLabels`;
        for data sets of both kinds, 'known DIGEST' or 'hidden DIGEST' for each, in order, joined by ', '.
    """
    if not reads_labels:
        return HIDDEN
    datasets = list(leaf_configs(dataset, stop_at=hides_labels))
    # Data sets beside the first of a `SemiSupervisedDataset` have no labels, whatever their type.
    unlabelled = [
        part
        for semi in dataset_configs(dataset)
        if type_name(semi) == 'SemiSupervisedDataset'
        for part in leaf_configs(list(semi['datasets'][1:]), stop_at=hides_labels)
    ]
    words = [
        HIDDEN if hides_labels(part) or any(part is other for other in unlabelled) else KNOWN
        for part in datasets
    ]
    if len(set(words)) == 1:
        return words[0]
    # Digests detect swapped data sets: the cache would reveal labels that were known then and are hidden now.
    return ', '.join(f'{word} {_digest(part)}' for word, part in zip(words, datasets))


def _digest(dataset: Mapping) -> str:
    """Return a digest of the settings that select the images of a data set."""
    images = next(part for part in leaf_configs(dataset))
    settings = {key: value for key, value in images.items() if key not in ('pipeline', 'metainfo', '_scope_')}
    return blake2b(repr(sorted(settings.items(), key=str)).encode(), digest_size=4).hexdigest()


def check_labels_of_cache(cache: str | Path, dataset: object, reads_labels: bool = True) -> None:
    """Refuse a cache whose concepts were selected by other labels than those known in training.

    With `teacher.max_concepts` a cache holds the maps of selected concepts only. Selection by labels reveals
    labels that `lfi.FewLabels` hides. Selection without labels may leave out the concept of a known label.

    Args:
        cache: folder of the cache. A folder without a manifest passes; opening it raises a better error.
        dataset: config of the training data.
        reads_labels: whether training reads labels. Defaults to True.

    Raises:
        UsageError: if the cache holds selected maps and was written with another label visibility.
    """
    if not (Path(cache) / 'manifest.json').is_file():
        return
    manifest = CacheManifest.read(Path(cache))
    expected = label_visibility(dataset, reads_labels)
    if not manifest.has_chosen_concepts or manifest.labels == expected:
        return
    raise UsageError(
        f'model.teacher.cache={str(cache)!r} holds the maps of selected concepts only '
        f'(teacher.max_concepts={manifest.teacher.get("max_concepts")}), which depend on labels: the cache '
        f'was written with labels={manifest.labels!r}, but train_dataloader.dataset has labels={expected!r}. '
        'Write another cache by lfi cache with the config of this training; or set '
        'model.teacher.max_concepts=None and no model.teacher.background for a cache that serves all labels'
    )


def hides_labels(dataset: dict) -> bool:
    """Whether the data set of a config is `lfi.FewLabels` or `lfi.ImageFolder`."""
    return type_name(dataset) in UNLABELLED_TYPES
