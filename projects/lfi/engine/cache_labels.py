"""Which labels were known when a cache chose the concepts whose maps it keeps, and which are in training."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheManifest
from lfi.utils.config_types import leaves, type_name

KNOWN, HIDDEN = 'known', 'hidden'
WITHOUT_LABELS = ('FewLabels', 'ImageFolder')
"""Data sets that hide labels, or have none."""


def labels_of(dataset: object, reads_labels: bool = True) -> str:
    """Which labels of a data set's config choose concepts when `lfi cache` reads it.

    Args:
        dataset: the config, with data sets inside it at any depth.
        reads_labels: whether the model asks about labels. Defaults to True.

    Returns:
        'known' for all of them; 'hidden' for none, as in `lfi.ImageFolder`, or `lfi.FewLabels` with any
        number of labels; or one of these for each data set inside, with a digest of which it is, in their
        order, joined by ', '.
    """
    if not reads_labels:
        return HIDDEN
    inside = list(leaves(dataset, until=hides_labels))
    found = [HIDDEN if hides_labels(part) else KNOWN for part in inside]
    if len(set(found)) == 1:
        return found[0]
    # Two data sets may change places: then a choice would tell labels of the one that is hidden now.
    return ', '.join(f'{word} {_digest(part)}' for word, part in zip(found, inside))


def _digest(dataset: Mapping) -> str:
    """Which images a data set's config has."""
    images = next(part for part in leaves(dataset))
    named = {key: value for key, value in images.items() if key not in ('pipeline', 'metainfo', '_scope_')}
    return blake2b(repr(sorted(named.items(), key=str)).encode(), digest_size=4).hexdigest()


def check_labels_of_cache(cache: str | Path, dataset: object, reads_labels: bool = True) -> None:
    """Refuse a cache whose maps were chosen by other labels than the training knows.

    With `teacher.max_concepts` a cache holds the maps of chosen concepts alone. Where labels chose them, the
    choice tells labels that `lfi.FewLabels` hides; where none did, the concept of a label may be missing.

    Args:
        cache: its folder. One without a manifest passes: whoever opens it says what is wrong.
        dataset: the config of the training data.
        reads_labels: whether the model asks about labels. Defaults to True.

    Raises:
        UsageError: if the cache keeps chosen maps, and was not written for data of the same kind of labels.
    """
    if not (Path(cache) / 'manifest.json').is_file():
        return
    manifest = CacheManifest.read(Path(cache))
    wanted = labels_of(dataset, reads_labels)
    if not manifest.keeps_chosen or manifest.labels == wanted:
        return
    raise UsageError(
        f'model.teacher.cache={str(cache)!r} keeps the maps of chosen concepts alone '
        f'(teacher.max_concepts={manifest.teacher.get("max_concepts")}), and labels choose: it was written '
        f'with labels={manifest.labels!r}, and train_dataloader.dataset has labels={wanted!r}. Write another '
        'by lfi cache with the config of this training; or one that serves all choices of labels, with '
        'model.teacher.max_concepts=None and no model.teacher.background'
    )


def hides_labels(dataset: dict) -> bool:
    """Whether a data set's config is one of `lfi.FewLabels` or `lfi.ImageFolder`."""
    return type_name(dataset) in WITHOUT_LABELS
