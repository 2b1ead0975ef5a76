"""What a picture shows of several images: noted by the transforms that mix them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lfi.errors import UsageError
from lfi.structures import Tiles

from .record_view import (
    MIXED,
    Geometry,
    Recorded,
    first_size,
    frames_of,
    geometry_of,
    is_unmoved,
    refuse_read_maps,
    view_of,
)
from .stencils import FRAME, Stencil, drawn, seen_through
from .view_matrix import to_pixels


@dataclass(frozen=True)
class Source:
    """An image in a mixed picture.

    Args:
        path: of its file.
        view: (3, 3), from the picture's coordinates to the file's, both from -1 to 1.
        stencils: it shows where all of them let it.
        share: how much of a location there shows it.
    """

    path: str
    view: np.ndarray
    stencils: tuple[Stencil, ...]
    share: float = 1.0

    def seen(self, matrix: np.ndarray) -> Source:
        """The same in another picture, given the way from the other's coordinates to this one's."""
        return replace(self, view=self.view @ matrix, stencils=seen_through(self.stencils, matrix))

    def behind(self, *stencils: Stencil) -> Source:
        """The same behind further stencils."""
        return replace(self, stencils=(*self.stencils, *stencils))


@dataclass(frozen=True)
class MixedSources:
    """What a picture shows.

    Args:
        size: its height and width in pixels when it was made.
        sources: the images.
    """

    size: tuple[int, int]
    sources: tuple[Source, ...]


def sources_of(results: dict) -> list[Source]:
    """What a picture shows as it is now, before a step mixes it: one image, or what steps before have mixed.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved its pixels.
    """
    refuse_unrecorded_changes(results)
    if MIXED in results:
        sources: Sequence[Source] = results[MIXED].sources
    else:
        if 'recorded' not in results:
            # Nothing may have moved a pixel.
            _refuse_change('before', Geometry(tuple(results['ori_shape'][:2])), geometry_of(results), results)
        sources = [_file(results)]
    view, frames = view_of(results), frames_of(results)
    return [source.seen(view).behind(*frames, FRAME) for source in sources]


def note_sources(results: dict, sources: Sequence[Source]) -> dict:
    """Note what the picture of `results` shows, as a picture of its own: nothing else has moved a pixel.

    Raises:
        UsageError: if the maps of what it was before have been read.
    """
    refuse_read_maps(results)
    results[MIXED] = MixedSources(tuple(results['img'].shape[:2]), tuple(sources))
    results.pop('homography_matrix', None)
    results.update(flip=False, flip_direction=None)
    results['view'] = torch.eye(2, 3)
    results['recorded'] = Recorded(None, geometry_of(results))
    return results


def tiles_of(results: dict) -> tuple[list[str], Tiles | None]:
    """The files that a picture shows as it is now, and where; None where one shows all over the picture."""
    mixed: MixedSources | None = results.get(MIXED)
    view, frames = view_of(results), frames_of(results)
    every = [one.seen(view).behind(*frames) for one in (mixed.sources if mixed else (_file(results),))]
    if mixed is None and not every[0].stencils:
        return [every[0].path], None
    size = results['img'].shape
    drawings = [(source, *drawn(source.stencils, size)) for source in every]
    # A picture of nothing but filler has maps too.
    shown = [one for one in drawings if one[2].any()] or drawings[:1]
    sources, windows = [source for source, _, _ in shown], [window for _, window, _ in shown]
    views = [(source.view @ _to_picture(window))[:2] for source, window in zip(sources, windows)]
    covers = [cover for _, _, cover in shown]
    cells = max(len(cover) for cover in covers)
    tiles = Tiles(
        torch.from_numpy(np.stack(windows).astype(np.float32)),
        torch.from_numpy(np.stack(views).astype(np.float32)),
        tuple(source.share for source in sources),
        None
        if all((cover == 255).all() for cover in covers)
        else np.stack([np.broadcast_to(cover, (cells, cells)) for cover in covers]),
    )
    return [source.path for source in sources], tiles


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


def _file(results: dict) -> Source:
    """A picture's file, as it shows before anything moves it."""
    return Source(results['img_path'], np.eye(3), (FRAME,))


def _to_picture(window: np.ndarray) -> np.ndarray:
    """From a window's coordinates to the picture's, (3, 3)."""
    matrix = np.diag([*(window[:, 1] - window[:, 0]), 1])
    matrix[:2, 2] = window.sum(1) - 1
    return matrix


def _refuse_change(when: str, known: Geometry, found: Geometry, results: dict) -> None:
    if not is_unmoved(known, found):
        raise UsageError(
            f'{results["img_path"]}: a step {when} lfi.RecordView has changed the image, {known.size} pixels '
            f'with flip={known.flip!r}, to {found.size} with flip={found.flip!r}: its cached maps would be '
            'read at wrong locations. '
            'Put all steps that move pixels into RecordView'
        )
