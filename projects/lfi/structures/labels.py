"""The mark of images without a label, and the share of labelled images in a batch."""

from __future__ import annotations

from typing import Any

UNLABELLED = 'unlabelled'
"""Key of a data info and of a sample's metainfo (which stays on the CPU): True if the label is unknown."""

MIN_SHARE = 1e-4
"""Smallest share of labelled or of unlabelled images. It bounds the length of an epoch."""


def check_share(labelled_share: object) -> None:
    """Raise a ValueError if a share of labelled images would leave out labelled or unlabelled images."""
    if (
        isinstance(labelled_share, bool)
        or not isinstance(labelled_share, int | float)
        or not MIN_SHARE <= labelled_share <= 1 - MIN_SHARE
    ):
        raise ValueError(
            f'labelled_share={labelled_share!r} must be above 0 and below 1, from {MIN_SHARE} to '
            f'{1 - MIN_SHARE}. To train without any label, set labels_per_class=0 of lfi.FewLabels; with '
            'all labels, leave lfi.FewLabels and few_labels out'
        )


def is_unlabelled(sample: Any) -> bool:
    """Whether a sample is marked as unlabelled."""
    return bool(sample.metainfo.get(UNLABELLED, False))
