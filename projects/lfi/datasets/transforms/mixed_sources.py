"""What a picture shows of several images: noted by the transforms that mix them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lfi.errors import UsageError
from lfi.structures import Pieces

from .record_view import (
    MIXED,
    Geometry,
    Recorded,
    first_size,
    geometry_of,
    is_unmoved,
    refuse_read_maps,
    view_of,
)
from .view_matrix import to_pixels

# Masks, and rectangles that a view rotates, are drawn on so many cells, each by as many points squared.
CELLS, POINTS = 128, 4
EVERYWHERE = np.array([[0.0, 1.0], [0.0, 1.0]])


@dataclass(frozen=True)
class Stencil:
    """Through what a picture shows an image: a rectangle, or what a mask over it leaves.

    Args:
        matrix: (3, 3), from the picture's coordinates to the rectangle's, both from -1 to 1; nothing shows
            beyond it.
        mask: (H, W) bool, over the rectangle, where the image shows. Defaults to None: everywhere.
    """

    matrix: np.ndarray
    mask: np.ndarray | None = None

    @property
    def is_upright_rectangle(self) -> bool:
        """Whether it has no mask, and the picture's axes."""
        return self.mask is None and not (self.matrix[0, 1] or self.matrix[1, 0])


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
        stencils = tuple(replace(one, matrix=one.matrix @ matrix) for one in self.stencils)
        return replace(self, view=self.view @ matrix, stencils=stencils)

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
        sources = [Source(results['img_path'], np.eye(3), (Stencil(np.eye(3)),))]
    view, frame = view_of(results), Stencil(np.eye(3))
    return [source.seen(view).behind(frame) for source in sources]


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


def pieces_of(results: dict) -> tuple[list[str], Pieces]:
    """The files that a mixed picture shows as it is now, and where."""
    view = view_of(results)
    every = [source.seen(view) for source in results[MIXED].sources]
    drawn = [(source, *_drawn(source.stencils)) for source in every]
    # A picture of nothing but padding has maps too.
    shown = [one for one in drawn if one[2].any()] or drawn[:1]
    sources, windows = [source for source, _, _ in shown], [window for _, window, _ in shown]
    views = [(source.view @ _to_picture(window))[:2] for source, window in zip(sources, windows)]
    covers = [cover for _, _, cover in shown]
    pieces = Pieces(
        torch.from_numpy(np.stack(windows).astype(np.float32)),
        torch.from_numpy(np.stack(views).astype(np.float32)),
        tuple(source.share for source in sources),
        None
        if all((cover == 255).all() for cover in covers)
        else np.stack([np.broadcast_to(cover, (CELLS, CELLS)) for cover in covers]),
    )
    return [source.path for source in sources], pieces


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


def _drawn(stencils: Sequence[Stencil]) -> tuple[np.ndarray, np.ndarray]:
    """In which part of a picture stencils show something, (2, 2) as `Pieces` has it, and its cover there.

    The cover is uint8, in 255ths of each of its cells. Upright rectangles meet in a rectangle, exactly, with
    one cell; others are drawn, over the complete picture.
    """
    low, high = np.full(2, -1.0), np.full(2, 1.0)
    for stencil in stencils:
        if stencil.is_upright_rectangle:
            scale, origin = np.diag(stencil.matrix)[:2], stencil.matrix[:2, 2]
            ends = np.sort([(-1 - origin) / scale, (1 - origin) / scale], axis=0)
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    window = (np.stack((low, high), 1) + 1) / 2
    # Less than a thousandth of the picture is rounding.
    if (high - low < 2e-3).any():
        return EVERYWHERE, np.zeros((1, 1), np.uint8)
    if all(one.is_upright_rectangle for one in stencils):
        return window, np.full((1, 1), 255, np.uint8)
    return EVERYWHERE, _cover(stencils)


def _to_picture(window: np.ndarray) -> np.ndarray:
    """From a window's coordinates to the picture's, (3, 3)."""
    matrix = np.diag([*(window[:, 1] - window[:, 0]), 1])
    matrix[:2, 2] = window.sum(1) - 1
    return matrix


def _cover(stencils: Sequence[Stencil]) -> np.ndarray:
    """How much of each of the picture's cells all stencils let through, (CELLS, CELLS) uint8 in 255ths."""
    n = CELLS * POINTS
    x = (2 * np.arange(n, dtype=np.float32) + 1) / n - 1
    through = np.ones((n, n), bool)
    for stencil in stencils:
        rows = stencil.matrix[:2].astype(np.float32)
        across, down = (row[0] * x + row[1] * x[:, None] + row[2] for row in rows)
        through &= (np.abs(across) < 1) & (np.abs(down) < 1)
        if stencil.mask is not None:
            height, width = stencil.mask.shape
            i = ((down + 1) * (height / 2)).astype(np.int32).clip(0, height - 1)
            j = ((across + 1) * (width / 2)).astype(np.int32).clip(0, width - 1)
            through &= stencil.mask[i, j]
    mean = through.reshape(CELLS, POINTS, CELLS, POINTS).mean((1, 3))
    cover: np.ndarray = (255 * mean).round().astype(np.uint8)
    return cover


def _refuse_change(when: str, known: Geometry, found: Geometry, results: dict) -> None:
    if not is_unmoved(known, found):
        raise UsageError(
            f'{results["img_path"]}: a step {when} lfi.RecordView has changed the image, {known.size} pixels '
            f'with flip={known.flip!r}, to {found.size} with flip={found.flip!r}: its cached maps would be '
            'read at wrong locations. '
            'Put all steps that move pixels into RecordView'
        )
