"""The mark of images without a label, and the share of labelled images in a batch."""

from __future__ import annotations

from typing import Any

UNLABELLED = 'unlabelled'
"""Key of a data info and of a sample's metainfo, which stays on the CPU: True if the label is unknown."""

SMALLEST = 1e-4
"""Smallest share of labelled, and of unlabelled, images: an epoch has a finite length."""


def check_share(labelled_share: object) -> None:
    """Raise a ValueError for a share of labelled images that leaves out one kind of images."""
    if (
        isinstance(labelled_share, bool)
        or not isinstance(labelled_share, int | float)
        or not SMALLEST <= labelled_share <= 1 - SMALLEST
    ):
        raise ValueError(
            f'labelled_share={labelled_share!r} must be above 0 and below 1, from {SMALLEST} to '
            f'{1 - SMALLEST}. To train without any label, set labels_per_class=0 of lfi.FewLabels; with '
            'all labels, leave lfi.FewLabels and few_labels out'
        )


def is_unlabelled(sample: Any) -> bool:
    """Whether a sample is marked as unlabelled."""
    return bool(sample.metainfo.get(UNLABELLED, False))
