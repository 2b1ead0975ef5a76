"""How well presence tells the concepts that an image shows from those it does not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .image_maps import ImageMaps
from .localization import average_precision, check_finite


def presence_quality(presence: Tensor, visible: Tensor) -> dict[str, float | None]:
    """Compare presence with what can be seen, over all pairs of an image and a concept together.

    Args:
        presence: (N,) float in [0, 1], of N pairs.
        visible: (N,) bool, whether the image shows the concept; at least one does.

    Returns:
        - 'precision': the share of visible ones among the pairs of a presence of at least 0.5, None where
          there are none;
        - 'recall': the share of such pairs among the visible ones;
        - 'average_precision': of presence as a ranking; by chance the visible share;
        - 'brier': the Brier score, the mean squared difference from 1 or 0; 0 is best.

    Raises:
        ValueError: if no concept is visible, or presence is not finite.
    """
    check_finite(presence, 'presence')
    if not visible.any():
        raise ValueError('visible: no image shows any of the concepts')
    found = presence >= 0.5
    hits = (found & visible).sum()
    return {
        'precision': (hits / found.sum()).item() if found.any() else None,
        'recall': (hits / visible.sum()).item(),
        'average_precision': average_precision(presence[None], visible[None]).item(),
        'brier': (presence - visible.to(presence)).square().mean(dtype=torch.float64).item(),
    }


@dataclass(frozen=True)
class ImagePresence:
    """Presence of the C concepts in one image.

    Args:
        student: (C,) in [0, 1].
        teacher: (C,) in [0, 1].
        visible: (C,) bool, which of them have a region.
        counted: (C,) bool; the others, which crowds alone show, are neither present nor absent.
        labels: (C,) bool, which of them the image is labelled with; None where images have no labels.
    """

    student: np.ndarray
    teacher: np.ndarray
    visible: np.ndarray
    counted: np.ndarray
    labels: np.ndarray | None


def presence_of(
    maps: ImageMaps, regions: Collection[int], crowds: Collection[int], labels: Sequence[int] | None
) -> ImagePresence | None:
    """Presence in one image beside what can be seen there; None where it has no regions of the bank's."""
    student, teacher = maps.presence.numpy(), maps.teacher_presence.numpy()
    concepts = np.arange(len(student))
    visible = np.isin(concepts, list(regions))
    if not visible.any():
        return None
    counted = ~np.isin(concepts, list(crowds))
    labelled = None if labels is None else np.isin(concepts, labels)
    return ImagePresence(student, teacher, visible, counted, labelled)


def presence_entries(images: Sequence[ImagePresence]) -> dict[str, float]:
    """The quality of presence over all pairs of an image and a concept, by name; empty without images."""
    if not images:
        return {}
    visible = _stacked([image.visible for image in images])
    counted = _stacked([image.counted for image in images])
    columns = {
        '': _stacked([image.student for image in images]),
        '_frequency': _how_often(visible, counted),
        '_teacher': _stacked([image.teacher for image in images]),
    }
    entries = {
        f'presence_{measure}{column}': value
        for column, presence in columns.items()
        for measure, value in presence_quality(presence[counted], visible[counted]).items()
        # There is no precision where nothing is found.
        if value is not None
    }
    labels = [image.labels for image in images if image.labels is not None]
    if len(labels) < len(images):
        return entries
    labelled = _stacked(labels)
    for column, presence in columns.items() if labelled.any() else ():
        hits = labelled.gather(1, presence.argmax(1, keepdim=True))
        entries[f'presence_top1{column}'] = hits[labelled.any(1)].float().mean().item()
    counted = counted & ~labelled
    if not visible[counted].any():
        return entries
    columns['_frequency'] = _how_often(visible, counted)
    for column, presence in columns.items():
        found = average_precision(presence[counted][None], visible[counted][None])
        entries[f'unlabelled_presence_average_precision{column}'] = found.item()
    return entries


def _how_often(visible: Tensor, counted: Tensor) -> Tensor:
    """How often each concept is shown where it counts, of (N, C) for all N images."""
    often = (visible & counted).sum(0) / counted.sum(0).clamp_min(1)
    return often.expand(visible.shape)


def _stacked(of_images: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(of_images))
