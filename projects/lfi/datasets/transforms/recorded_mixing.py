"""mmdet's Mosaic, MixUp and CopyPaste with records of their sources. Needs mmdet; imported on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmdet.datasets.transforms import CachedMixUp, CachedMosaic, CopyPaste, MixUp, Mosaic

from lfi.registry import TRANSFORMS

from .mixed_sources import Source, Stencil, pixels_to_view, record_sources, sources_of
from .view_matrix import offset, scale


class _RecordedTiles:
    """Mixin that records the tiles of a mosaic. List it before the mosaic among the bases of a class."""

    _tiles: list[tuple]

    def _mosaic_combine(self, loc: str, center: Sequence, shape: Sequence) -> tuple:
        paste, crop = super()._mosaic_combine(loc, center, shape)  # type: ignore[misc]
        self._tiles.append((tuple(shape), paste, crop))
        return paste, crop

    def _other_images(self, results: dict) -> list[dict]:
        """Return all images of the mosaic except the first."""
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        """Make a mosaic and record its sources."""
        self._tiles = []
        first = dict(results)
        mosaic: dict = super().transform(results)  # type: ignore[misc]
        if not self._tiles:
            # `prob` skipped the mosaic.
            return mosaic
        size, images = mosaic['img'].shape, [first, *self._other_images(first)]
        tiles = zip(images, self._tiles)
        return record_sources(mosaic, [source for args in tiles for source in _tile_sources(*args, size)])


def _tile_sources(image: dict, tile: tuple, size: tuple[int, ...]) -> list[Source]:
    """Return the sources of a tile in a mosaic of (height, width, ...)."""
    (width, height), (left, top, right, bottom), (from_x, from_y, *_) = tile
    if right <= left or bottom <= top:
        return []
    to_image = scale(image['img'].shape, (height, width)) @ offset(from_x - left, from_y - top)
    matrix = pixels_to_view(to_image, image['img'].shape, size)
    stencil = Stencil(pixels_to_view(offset(-left, -top), (bottom - top, right - left), size))
    return [source.transformed(matrix).clipped(stencil) for source in sources_of(image)]


@TRANSFORMS.register_module()
class RecordedMosaic(_RecordedTiles, Mosaic):
    """mmdet's `Mosaic` for a teacher's cache: `lfi.LoadInteractionMaps` loads the maps of all sources.

    Images and boxes equal mmdet's, draw for draw. Put transforms that move pixels before or after this step
    into `lfi.RecordView`. The arguments are mmdet's.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved pixels.
    """

    def _other_images(self, results: dict) -> list[dict]:
        others: list[dict] = results['mix_results']
        return others


@TRANSFORMS.register_module()
class RecordedCachedMosaic(_RecordedTiles, CachedMosaic):
    """mmdet's `CachedMosaic`, which reuses earlier images, for a teacher's cache; see `RecordedMosaic`."""

    def get_indexes(self, cache: list) -> list:
        """Draw images of the cache and record them."""
        indexes: list = super().get_indexes(cache)
        self._chosen = [cache[i] for i in indexes]
        return indexes

    def _other_images(self, results: dict) -> list[dict]:
        return self._chosen


@TRANSFORMS.register_module()
class RecordedMixUp(MixUp):
    """mmdet's `MixUp` for a teacher's cache: `lfi.LoadInteractionMaps` loads the maps of all sources.

    Images and boxes equal mmdet's, draw for draw. Put transforms that move pixels before or after this step
    into `lfi.RecordView`. The arguments are mmdet's.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved pixels.
    """

    def transform(self, results: dict) -> dict:
        """Mix in another image and record the sources."""
        sources, other = sources_of(results), results['mix_results'][0]
        other_sources = _predict_sources(self, other, results['img'].shape)
        mixed: dict = super().transform(results)
        return _record_mixup(mixed, sources, other_sources) if len(other['gt_bboxes']) else mixed


@TRANSFORMS.register_module()
class RecordedCachedMixUp(CachedMixUp):
    """mmdet's `CachedMixUp`, which reuses earlier images, for a teacher's cache; see `RecordedMixUp`."""

    def get_indexes(self, cache: list) -> int:
        """Draw an image of the cache and record where it will be placed."""
        index: int = super().get_indexes(cache)
        if len(cache[index]['gt_bboxes']):
            self._other_sources = _predict_sources(self, cache[index], self._size)
        return index

    def transform(self, results: dict) -> dict:
        """Mix in another image and record the sources."""
        sources, self._size, self._other_sources = sources_of(results), results['img'].shape, []
        mixed: dict = super().transform(results)
        # No image was drawn if `prob` skipped the mixing.
        return _record_mixup(mixed, sources, self._other_sources) if self._other_sources else mixed


def _record_mixup(results: dict, sources: list[Source], other_sources: list[Source]) -> dict:
    mixed = (*sources, *other_sources)
    return record_sources(results, [replace(source, share=source.share / 2) for source in mixed])


def _predict_sources(mixup: Any, image: dict, size: tuple[int, ...]) -> list[Source]:
    """Return the sources of an image as a MixUp will place it, without advancing the random state."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        matrix = pixels_to_view(_drawn_matrix(mixup, image['img'].shape, size), image['img'].shape, size)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return [source.transformed(matrix).clipped(Stencil(matrix)) for source in sources_of(image)]


def _drawn_matrix(mixup: Any, shape: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """Repeat mmdet's draws for the matrix of a MixUp, from the mixed picture's pixels to the image's."""
    jitter = np.random.uniform(*mixup.ratio_range)  # noqa: NPY002
    flipped = np.random.uniform(0, 1) > mixup.flip_ratio  # noqa: NPY002
    height, width = shape[:2]
    max_width, max_height = mixup.dynamic_scale
    ratio = min(max_height / height, max_width / width)
    resized = int(height * ratio), int(width * ratio)
    jittered = int(max_height * jitter), int(max_width * jitter)
    # mmdet draws the row first.
    top, left = (
        np.random.randint(0, inner - outer) if inner > outer else 0  # noqa: NPY002
        for inner, outer in zip(jittered, size)
    )
    mirror = np.array([[-1.0, 0, jittered[1]], [0, 1, 0], [0, 0, 1]]) if flipped else np.eye(3)
    to_resized = scale((max_height, max_width), jittered) @ mirror @ offset(left, top)
    return scale((height, width), resized) @ to_resized


@TRANSFORMS.register_module()
class RecordedCopyPaste(CopyPaste):
    """mmdet's `CopyPaste` for a teacher's cache: `lfi.LoadInteractionMaps` loads the maps of all sources.

    Images, boxes and masks equal mmdet's, draw for draw. The pasted masks show the other image. Put
    transforms that move pixels before or after this step into `lfi.RecordView`. The arguments are mmdet's.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved pixels.
    """

    def transform(self, results: dict) -> dict:
        """Paste objects of another image and record the sources."""
        sources, other_sources = sources_of(results), sources_of(results['mix_results'][0])
        self._masks: list[np.ndarray] = []
        pasted: dict = super().transform(results)
        if not self._masks:
            # mmdet chose no object.
            return pasted
        (mask,) = self._masks
        outside, inside = Stencil(np.eye(3), ~mask), Stencil(np.eye(3), mask)
        visible = [source.clipped(outside) for source in sources]
        return record_sources(pasted, visible + [source.clipped(inside) for source in other_sources])

    def _get_updated_masks(self, masks: Any, composed_mask: np.ndarray) -> Any:
        self._masks.append(composed_mask.astype(bool))
        return super()._get_updated_masks(masks, composed_mask)
