"""What a picture shows of several images: noted by the transforms that mix them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lfi.errors import UsageError

from .record_view import MIXED, Geometry, Recorded, first_size, geometry_of
from .view_matrix import to_pixels


@dataclass(frozen=True)
class Source:
    """An image in a mixed picture.

    Args:
        path: of its file.
        view: (3, 3), from the picture's coordinates to the file's, both from -1 to 1.
        region: (3, 3), from the picture's coordinates to those of the rectangle that shows it, likewise.
        share: how much of a location there shows it.
    """

    path: str
    view: np.ndarray
    region: np.ndarray
    share: float = 1.0


@dataclass(frozen=True)
class MixedSources:
    """What a picture shows.

    Args:
        size: its height and width in pixels when it was made.
        sources: the images.
    """

    size: tuple[int, int]
    sources: tuple[Source, ...]


def source_of(results: dict, step: str) -> Source:
    """A single image as it is now, before a step mixes it.

    Raises:
        UsageError: if it is mixed already, or a step outside `lfi.RecordView` has moved its pixels.
    """
    if MIXED in results:
        raise UsageError(
            f'{results["img_path"]}: lfi.{step} gets an image that is mixed already: let it be the '
            'first step that mixes'
        )
    refuse_unrecorded_changes(results)
    if 'recorded' not in results:
        # Nothing may have moved a pixel.
        _refuse_change('before', Geometry(tuple(results['ori_shape'][:2])), geometry_of(results), results)
    view = view_of(results)
    return Source(results['img_path'], view, view)


def view_of(results: dict) -> np.ndarray:
    """The recorded view as a (3, 3) matrix; where none is recorded the picture is shown as it is."""
    view = results.get('view')
    return np.eye(3) if view is None else np.vstack((view.double().numpy(), [0, 0, 1]))


def note_sources(results: dict, sources: list[Source]) -> dict:
    """Note what the picture of `results` shows, as a picture of its own: nothing else has moved a pixel."""
    results[MIXED] = MixedSources(tuple(results['img'].shape[:2]), tuple(sources))
    results.pop('homography_matrix', None)
    results.update(flip=False, flip_direction=None)
    results['view'] = torch.eye(2, 3)
    results['recorded'] = Recorded(None, geometry_of(results))
    return results


def pixels_to_view(matrix: np.ndarray, inner: tuple[int, ...], outer: tuple[int, ...]) -> np.ndarray:
    """A matrix from the pixels of an outer picture to those of an inner one, in coordinates from -1 to 1."""
    return np.linalg.inv(to_pixels(inner)) @ matrix @ to_pixels(outer)


def refuse_unrecorded_changes(results: dict) -> None:
    """Check that the image was changed inside `lfi.RecordView` alone, as far as its size and notes tell.

    Raises:
        UsageError: if it was not.
    """
    recorded: Recorded | None = results.get('recorded')
    if recorded is None:
        return
    came, left, now = recorded.came, recorded.left, geometry_of(results)
    if came is not None:
        size = first_size(results) or came.size
        _refuse_change('before', Geometry(tuple(size[:2])), came, results)
    _refuse_change('after', left, now, results)


def _refuse_change(when: str, known: Geometry, found: Geometry, results: dict) -> None:
    # A flip that is not drawn takes back the word of an earlier one, and no pixel.
    if found._replace(flip=found.flip or known.flip) != known:
        raise UsageError(
            f'{results["img_path"]}: a step {when} lfi.RecordView has changed the image, {known.size} pixels '
            f'with flip={known.flip!r}, to {found.size} with flip={found.flip!r}: its cached maps would be '
            'read at wrong locations. '
            'Put all steps that move pixels into RecordView'
        )
