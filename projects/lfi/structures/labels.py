"""How data sets tell models that the label of an image is not known, and how many of a batch have one."""

from __future__ import annotations

from typing import Any

UNLABELLED = 'unlabelled'
"""Key of a data info, and of a sample's metainfo, where it stays on the CPU: True if the label is unknown."""

SMALLEST = 1e-4
"""Smaller shares of either kind are no shares: an epoch would be without end."""


def check_share(labelled_share: object) -> None:
    """Raise a ValueError for a share of images with a label that leaves one kind of images out."""
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
    """Whether a sample is marked as one without a label."""
    return bool(sample.metainfo.get(UNLABELLED, False))
