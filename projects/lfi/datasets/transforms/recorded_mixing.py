"""mmdet's Mosaic, MixUp and CopyPaste, with a record of what they show. Needs mmdet; imported on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmdet.datasets.transforms import CachedMixUp, CachedMosaic, CopyPaste, MixUp, Mosaic

from lfi.registry import TRANSFORMS

from .mixed_sources import Source, Stencil, note_sources, pixels_to_view, sources_of
from .view_matrix import offset, scale


class _Recorded:
    """Notes where a mosaic's tiles are; put it before the mosaic among the bases."""

    _tiles: list[tuple]

    def _mosaic_combine(self, loc: str, center: Sequence, shape: Sequence) -> tuple:
        paste, crop = super()._mosaic_combine(loc, center, shape)  # type: ignore[misc]
        self._tiles.append((tuple(shape), paste, crop))
        return paste, crop

    def _others(self, results: dict) -> list[dict]:
        """The images beside the first."""
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        """Make a mosaic, and note what it shows."""
        self._tiles = []
        first = dict(results)
        mosaic: dict = super().transform(results)  # type: ignore[misc]
        if not self._tiles:
            # It was left out this time.
            return mosaic
        size, images = mosaic['img'].shape, [first, *self._others(first)]
        tiles = zip(images, self._tiles)
        return note_sources(mosaic, [source for args in tiles for source in _placed(*args, size)])


def _placed(image: dict, tile: tuple, size: tuple[int, ...]) -> list[Source]:
    """The view of an image that a mosaic of this size shows."""
    (width, height), (left, top, right, bottom), (from_x, from_y, *_) = tile
    if right <= left or bottom <= top:
        return []
    to_image = scale(image['img'].shape, (height, width)) @ offset(from_x - left, from_y - top)
    matrix = pixels_to_view(to_image, image['img'].shape, size)
    piece_ = Stencil(pixels_to_view(offset(-left, -top), (bottom - top, right - left), size))
    return [source.seen(matrix).behind(piece_) for source in sources_of(image)]


@TRANSFORMS.register_module()
class RecordedMosaic(_Recorded, Mosaic):
    """mmdet's `Mosaic` for a teacher's cache: `lfi.LoadInteractionMaps` reads the maps of what it shows.

    The images and boxes are mmdet's, draw for draw. What moves pixels before it and after it belongs into
    `lfi.RecordView`. Arguments as mmdet's.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved the pixels of an image.
    """

    def _others(self, results: dict) -> list[dict]:
        others: list[dict] = results['mix_results']
        return others


@TRANSFORMS.register_module()
class RecordedCachedMosaic(_Recorded, CachedMosaic):
    """As `RecordedMosaic`, for mmdet's `CachedMosaic`, which takes images that it has seen before."""

    def get_indexes(self, cache: list) -> list:
        """Draw images of the cache, and note which."""
        indexes: list = super().get_indexes(cache)
        self._chosen = [cache[i] for i in indexes]
        return indexes

    def _others(self, results: dict) -> list[dict]:
        return self._chosen


@TRANSFORMS.register_module()
class RecordedMixUp(MixUp):
    """mmdet's `MixUp` for a teacher's cache: `lfi.LoadInteractionMaps` reads the maps of what it shows.

    The images and boxes are mmdet's, draw for draw. What moves pixels before it and after it belongs into
    `lfi.RecordView`. Arguments as mmdet's.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved the pixels of an image.
    """

    def transform(self, results: dict) -> dict:
        """Mix in another image, and note what the picture shows."""
        own, other = sources_of(results), results['mix_results'][0]
        theirs = _about_to_show(self, other, results['img'].shape)
        mixed: dict = super().transform(results)
        return _note_halves(mixed, own, theirs) if len(other['gt_bboxes']) else mixed


@TRANSFORMS.register_module()
class RecordedCachedMixUp(CachedMixUp):
    """As `RecordedMixUp`, for mmdet's `CachedMixUp`, which takes images that it has seen before."""

    def get_indexes(self, cache: list) -> int:
        """Draw an image of the cache, and note where it will lie."""
        index: int = super().get_indexes(cache)
        if len(cache[index]['gt_bboxes']):
            self._theirs = _about_to_show(self, cache[index], self._size)
        return index

    def transform(self, results: dict) -> dict:
        """Mix in another image, and note what the picture shows."""
        own, self._size, self._theirs = sources_of(results), results['img'].shape, []
        mixed: dict = super().transform(results)
        # Nothing was drawn where it was left out this time.
        return _note_halves(mixed, own, self._theirs) if self._theirs else mixed


def _note_halves(results: dict, own: list[Source], theirs: list[Source]) -> dict:
    return note_sources(results, [replace(source, share=source.share / 2) for source in (*own, *theirs)])


def _about_to_show(mixup: Any, image: dict, size: tuple[int, ...]) -> list[Source]:
    """What an image shows as it will lie in a picture of this size, by what a MixUp is about to draw."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        matrix = pixels_to_view(_drawn_matrix(mixup, image['img'].shape, size), image['img'].shape, size)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return [source.seen(matrix).behind(Stencil(matrix)) for source in sources_of(image)]


def _drawn_matrix(mixup: Any, shape: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """Draw as a MixUp does, in its order: from the pixels of the mixed picture to those of the image."""
    jitter = np.random.uniform(*mixup.ratio_range)  # noqa: NPY002
    flipped = np.random.uniform(0, 1) > mixup.flip_ratio  # noqa: NPY002
    height, width = shape[:2]
    wide, high = mixup.dynamic_scale
    ratio = min(high / height, wide / width)
    resized = int(height * ratio), int(width * ratio)
    jittered = int(high * jitter), int(wide * jitter)
    # Rows are drawn first.
    top, left = (
        np.random.randint(0, inner - outer) if inner > outer else 0  # noqa: NPY002
        for inner, outer in zip(jittered, size)
    )
    mirror = np.array([[-1.0, 0, jittered[1]], [0, 1, 0], [0, 0, 1]]) if flipped else np.eye(3)
    to_resized = scale((high, wide), jittered) @ mirror @ offset(left, top)
    return scale((height, width), resized) @ to_resized


@TRANSFORMS.register_module()
class RecordedCopyPaste(CopyPaste):
    """mmdet's `CopyPaste` for a teacher's cache: `lfi.LoadInteractionMaps` reads the maps of what it shows.

    The images, boxes and masks are mmdet's, draw for draw: what lies under the chosen masks shows the other
    image. What moves pixels before it and after it belongs into `lfi.RecordView`. Arguments as mmdet's.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved the pixels of an image.
    """

    def transform(self, results: dict) -> dict:
        """Paste objects of another image, and note what the picture shows."""
        own, theirs = sources_of(results), sources_of(results['mix_results'][0])
        self._masks: list[np.ndarray] = []
        pasted: dict = super().transform(results)
        if not self._masks:
            # No object was chosen.
            return pasted
        (under,) = self._masks
        hole, mask = Stencil(np.eye(3), ~under), Stencil(np.eye(3), under)
        sources = [source.behind(hole) for source in own] + [source.behind(mask) for source in theirs]
        return note_sources(pasted, sources)

    def _get_updated_masks(self, masks: Any, composed_mask: np.ndarray) -> Any:
        self._masks.append(composed_mask.astype(bool))
        return super()._get_updated_masks(masks, composed_mask)
