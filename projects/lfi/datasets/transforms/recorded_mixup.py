"""mmdet's MixUp, with a record of what it shows. Needs mmdet; imported when it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from mmdet.datasets.transforms import MixUp

from lfi.registry import TRANSFORMS

from .mixed_sources import (
    Source,
    note_sources,
    pixels_to_view,
    refuse_unrecorded_changes,
    source_of,
    view_of,
)
from .record_view import MIXED
from .view_matrix import offset, scale


@TRANSFORMS.register_module()
class RecordedMixUp(MixUp):
    """mmdet's `MixUp` for a teacher's cache: `lfi.LoadInteractionMaps` reads the maps of what it shows.

    The images and boxes are mmdet's, draw for draw. It may follow `lfi.RecordedMosaic`; what moves pixels
    before it and after it belongs into `lfi.RecordView`. Arguments as mmdet's.

    Raises:
        UsageError: if a step outside `lfi.RecordView` has moved the pixels of an image, or if the image that
            is mixed in is a mixture itself.
    """

    def transform(self, results: dict) -> dict:
        """Mix in another image, and note what the picture shows."""
        if not len(results['mix_results'][0]['gt_bboxes']):
            mixed: dict = super().transform(results)
            return mixed
        own = _sources(results)
        other = self._other(results['mix_results'][0], results['img'].shape)
        mixed = super().transform(results)
        return note_sources(mixed, [replace(source, share=source.share / 2) for source in (*own, other)])

    def _other(self, image: dict, size: tuple[int, ...]) -> Source:
        """Where the other image will lie: by what MixUp is about to draw, in its order."""
        state = np.random.get_state()  # noqa: NPY002
        try:
            return self._draw(image, size)
        finally:
            np.random.set_state(state)  # noqa: NPY002

    def _draw(self, image: dict, size: tuple[int, ...]) -> Source:
        jitter = np.random.uniform(*self.ratio_range)  # noqa: NPY002
        flipped = np.random.uniform(0, 1) > self.flip_ratio  # noqa: NPY002
        height, width = image['img'].shape[:2]
        wide, high = self.dynamic_scale
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
        to_image = scale((height, width), resized) @ to_resized
        source = source_of(image, type(self).__name__)
        shown = pixels_to_view(to_image, (height, width), size)
        return Source(source.path, source.view @ shown, shown)


def _sources(results: dict) -> list[Source]:
    """What the picture shows now."""
    if MIXED not in results:
        return [source_of(results, RecordedMixUp.__name__)]
    refuse_unrecorded_changes(results)
    view = view_of(results)
    return [
        replace(source, view=source.view @ view, region=source.region @ view)
        for source in results[MIXED].sources
    ]
