"""mmdet's MixUp, with a record of what it shows. Needs mmdet; imported when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from mmdet.datasets.transforms import CachedMixUp, MixUp

from lfi.registry import TRANSFORMS

from .mixed_sources import Source, Stencil, note_sources, pixels_to_view, sources_of
from .view_matrix import offset, scale


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
