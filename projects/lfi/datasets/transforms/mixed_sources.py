"""Source images of a mixed picture, recorded by the transforms that mix them."""

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
    ViewRecord,
    check_maps_not_loaded,
    geometry_of,
    is_unmoved,
    original_size,
    stencils_of,
    view_of,
)
from .stencils import FRAME, Stencil, draw_stencils, transform_stencils
from .view_matrix import from_pixels, to_pixels


@dataclass(frozen=True)
class Source:
    """A source image of a mixed picture.

    Args:
        path: path of the image file.
        view: (3, 3), from the picture's coordinates to the file's, both from -1 to 1.
        stencils: stencils whose intersection is the visible part of the source.
        share: weight of the source at a visible location, in (0, 1]. Defaults to 1.
    """

    path: str
    view: np.ndarray
    stencils: tuple[Stencil, ...]
    share: float = 1.0

    def transformed(self, matrix: np.ndarray) -> Source:
        """Move the source to another picture by a matrix (3, 3) from new coordinates to old coordinates."""
        return replace(self, view=self.view @ matrix, stencils=transform_stencils(self.stencils, matrix))

    def clipped(self, *stencils: Stencil) -> Source:
        """Return the source with further stencils."""
        return replace(self, stencils=(*self.stencils, *stencils))


@dataclass(frozen=True)
class MixedSources:
    """Source images of a mixed picture.

    Args:
        size: height and width of the picture in pixels when it was mixed.
        sources: source images.
    """

    size: tuple[int, int]
    sources: tuple[Source, ...]


def sources_of(results: dict) -> list[Source]:
    """Return the sources of a picture before the next step mixes it.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved pixels.
    """
    refuse_unrecorded_changes(results)
    if MIXED in results:
        sources: Sequence[Source] = results[MIXED].sources
    else:
        if 'recorded' not in results:
            # Without a record no step may have moved a pixel.
            _refuse_change('before', Geometry(tuple(results['ori_shape'][:2])), geometry_of(results), results)
        sources = [_file_source(results)]
    view, stencils = view_of(results), stencils_of(results)
    return [source.transformed(view).clipped(*stencils, FRAME) for source in sources]


def record_sources(results: dict, sources: Sequence[Source]) -> dict:
    """Record the sources of a mixed picture and reset its view.

    Raises:
        UsageError: if the maps of the picture were read before the mixing.
    """
    check_maps_not_loaded(results)
    results[MIXED] = MixedSources(tuple(results['img'].shape[:2]), tuple(sources))
    results.pop('homography_matrix', None)
    results.update(flip=False, flip_direction=None)
    results['view'] = torch.eye(2, 3)
    results['recorded'] = ViewRecord(None, geometry_of(results))
    return results


def tiles_of(results: dict) -> tuple[list[str], Tiles | None]:
    """Return the paths and tiles of a picture's sources; tiles are None if one image fills it."""
    mixed: MixedSources | None = results.get(MIXED)
    view, stencils = view_of(results), stencils_of(results)
    originals = mixed.sources if mixed else (_file_source(results),)
    sources = [source.transformed(view).clipped(*stencils) for source in originals]
    if mixed is None and not sources[0].stencils:
        return [sources[0].path], None
    size = results['img'].shape
    drawings = [(source, *draw_stencils(source.stencils, size)) for source in sources]
    # Keep one source even if the picture shows filler alone.
    visible = [drawing for drawing in drawings if drawing[2].any()] or drawings[:1]
    sources, windows = [source for source, _, _ in visible], [window for _, window, _ in visible]
    views = [(source.view @ _window_to_picture(window))[:2] for source, window in zip(sources, windows)]
    coverages = [coverage for _, _, coverage in visible]
    cells = max(len(coverage) for coverage in coverages)
    tiles = Tiles(
        torch.from_numpy(np.stack(windows).astype(np.float32)),
        torch.from_numpy(np.stack(views).astype(np.float32)),
        tuple(source.share for source in sources),
        None
        if all((coverage == 255).all() for coverage in coverages)
        else np.stack([np.broadcast_to(coverage, (cells, cells)) for coverage in coverages]),
    )
    return [source.path for source in sources], tiles


def pixels_to_view(matrix: np.ndarray, inner: tuple[int, ...], outer: tuple[int, ...]) -> np.ndarray:
    """Convert a matrix (3, 3) from outer to inner picture: from pixels to coordinates from -1 to 1."""
    return from_pixels(inner) @ matrix @ to_pixels(outer)


def refuse_unrecorded_changes(results: dict) -> None:
    """Refuse an image that was changed outside `lfi.RecordView`, as far as size and records show.

    Raises:
        UsageError: if a step before or after `lfi.RecordView` has changed the image.
    """
    recorded: ViewRecord | None = results.get('recorded')
    if recorded is None:
        return
    if recorded.before is not None:
        size = original_size(results) or recorded.before.size
        _refuse_change('before', Geometry(tuple(size[:2])), recorded.before, results)
    _refuse_change('after', recorded.after, geometry_of(results), results)


def _file_source(results: dict) -> Source:
    """Return the whole image file as a source."""
    return Source(results['img_path'], np.eye(3), (FRAME,))


def _window_to_picture(window: np.ndarray) -> np.ndarray:
    """Matrix from a window's coordinates to the picture's, (3, 3)."""
    matrix = np.diag([*(window[:, 1] - window[:, 0]), 1])
    matrix[:2, 2] = window.sum(1) - 1
    return matrix


def _refuse_change(when: str, before: Geometry, after: Geometry, results: dict) -> None:
    if not is_unmoved(before, after):
        raise UsageError(
            f'{results["img_path"]}: a step {when} lfi.RecordView has changed the image from {before.size} '
            f'pixels with flip={before.flip!r} to {after.size} with flip={after.flip!r}: its cached maps '
            'would be read at wrong locations. Put all steps that move pixels into RecordView'
        )
