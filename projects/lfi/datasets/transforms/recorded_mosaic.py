"""mmdet's Mosaic, with a record of what it shows. Needs mmdet; imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.datasets.transforms import CachedMosaic, Mosaic

from lfi.registry import TRANSFORMS

from .mixed_sources import Source, Stencil, note_sources, pixels_to_view, sources_of
from .view_matrix import offset, scale


class _Recorded:
    """Notes where a mosaic's pieces are; put it before the mosaic among the bases."""

    _pieces: list[tuple]

    def _mosaic_combine(self, loc: str, center: Sequence, shape: Sequence) -> tuple:
        paste, crop = super()._mosaic_combine(loc, center, shape)  # type: ignore[misc]
        self._pieces.append((tuple(shape), paste, crop))
        return paste, crop

    def _others(self, results: dict) -> list[dict]:
        """The images beside the first."""
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        """Make a mosaic, and note what it shows."""
        self._pieces = []
        first = dict(results)
        mosaic: dict = super().transform(results)  # type: ignore[misc]
        if not self._pieces:
            # It was left out this time.
            return mosaic
        size, images = mosaic['img'].shape, [first, *self._others(first)]
        pieces = zip(images, self._pieces)
        return note_sources(mosaic, [source for args in pieces for source in _placed(*args, size)])


def _placed(image: dict, piece: tuple, size: tuple[int, ...]) -> list[Source]:
    """What an image shows, as a mosaic of this size shows a piece of it."""
    (width, height), (left, top, right, bottom), (from_x, from_y, *_) = piece
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
