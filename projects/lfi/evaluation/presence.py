"""Quality of presence as a classifier of visible concepts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .calibration import calibration_error, fit_presence, fitted_by_halves
from .image_maps import ImageMaps
from .localization import average_precision, check_finite


def presence_quality(presence: Tensor, visible: Tensor) -> dict[str, float | None]:
    """Compare presence with visibility over N pairs of an image and a concept.

    Args:
        presence: (N,) float in [0, 1].
        visible: (N,) bool, whether the image shows the concept, true for at least one pair.

    Returns:
        - 'precision': share of visible concepts among pairs with a presence of at least 0.5; None if there
          is no such pair;
        - 'recall': share of pairs with a presence of at least 0.5 among visible concepts;
        - 'average_precision': average precision of presence as a ranking. The chance level is the share of
          visible concepts;
        - 'brier': Brier score, the mean squared error against 1 or 0; lower is better;
        - 'calibration_error': `calibration_error`; lower is better.

    Raises:
        ValueError: if no concept is visible, or presence is not finite.
    """
    check_finite(presence, 'presence')
    if not visible.any():
        raise ValueError('visible: no image shows any of the concepts')
    predicted = presence >= 0.5
    hits = (predicted & visible).sum()
    return {
        'precision': (hits / predicted.sum()).item() if predicted.any() else None,
        'recall': (hits / visible.sum()).item(),
        'average_precision': average_precision(presence[None], visible[None]).item(),
        'brier': (presence - visible.to(presence)).square().mean(dtype=torch.float64).item(),
        'calibration_error': calibration_error(presence, visible),
    }


@dataclass(frozen=True)
class ImagePresence:
    """Presence and visibility of the C concepts in one image.

    Args:
        student: (C,) in [0, 1], presence from the student.
        teacher: (C,) in [0, 1], presence from the teacher.
        visible: (C,) bool, concepts with a region.
        counted: (C,) bool, concepts to evaluate: all but those that only crowds show.
        labels: (C,) bool, labels of the image; None if the image has no labels.
        fit: `presence_fit` by which the student's presence is corrected already.
    """

    student: np.ndarray
    teacher: np.ndarray
    visible: np.ndarray
    counted: np.ndarray
    labels: np.ndarray | None
    fit: tuple[float, float]


def image_presence(
    maps: ImageMaps, regions: Collection[int], crowds: Collection[int], labels: Sequence[int] | None
) -> ImagePresence | None:
    """Presence and visibility in one image; None if no concept of the bank has a region."""
    student, teacher = maps.presence.numpy(), maps.teacher_presence.numpy()
    concepts = np.arange(len(student))
    visible = np.isin(concepts, list(regions))
    if not visible.any():
        return None
    counted = ~np.isin(concepts, list(crowds))
    labelled = None if labels is None else np.isin(concepts, labels)
    return ImagePresence(student, teacher, visible, counted, labelled, maps.presence_fit)


def presence_metrics(images: Sequence[ImagePresence]) -> dict[str, float]:
    """Quality of presence over all pairs of an image and a concept, by entry name; empty without images."""
    if not images:
        return {}
    visible = _stack([image.visible for image in images])
    counted = _stack([image.counted for image in images])
    columns = {
        '': _stack([image.student for image in images]),
        '_frequency': _visible_frequency(visible, counted),
        '_teacher': _stack([image.teacher for image in images]),
    }
    entries = {
        f'presence_{measure}{column}': value
        for column, presence in columns.items()
        for measure, value in presence_quality(presence[counted], visible[counted]).items()
        # Precision is undefined if nothing is predicted.
        if value is not None
    }
    for column in ('', '_teacher'):
        fitted = fitted_by_halves(columns[column], visible, counted)
        if fitted is not None:
            entries[f'presence_fitted_calibration_error{column}'] = calibration_error(
                fitted[counted], visible[counted]
            )
    labels = [image.labels for image in images if image.labels is not None]
    if len(labels) < len(images):
        return entries
    labelled = _stack(labels)
    for column, presence in columns.items() if labelled.any() else ():
        hits = labelled.gather(1, presence.argmax(1, keepdim=True))
        entries[f'presence_top1{column}'] = hits[labelled.any(1)].float().mean().item()
    counted = counted & ~labelled
    if not visible[counted].any():
        return entries
    columns['_frequency'] = _visible_frequency(visible, counted)
    for column, presence in columns.items():
        score = average_precision(presence[counted][None], visible[counted][None])
        entries[f'unlabelled_presence_average_precision{column}'] = score.item()
    return entries


def student_fit(images: Sequence[ImagePresence]) -> tuple[float, float]:
    """Return the `readout.presence_fit` to set, from images that show some concepts and lack others.

    It replaces the fit that the student has.
    """
    counted = _stack([image.counted for image in images])
    presence, visible = (
        _stack([getattr(image, name) for image in images])[counted] for name in ('student', 'visible')
    )
    scale, offset = fit_presence(presence, visible)
    own_scale, own_offset = images[0].fit
    return scale * own_scale, scale * own_offset + offset


def _visible_frequency(visible: Tensor, counted: Tensor) -> Tensor:
    """Share of the counted images of each concept that show it, repeated to (N, C)."""
    frequency = (visible & counted).sum(0) / counted.sum(0).clamp_min(1)
    return frequency.expand(visible.shape)


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
