"""mmdet's CopyPaste, with a record of what it shows. Needs mmdet; imported when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.datasets.transforms import CopyPaste

from lfi.registry import TRANSFORMS

from .mixed_sources import Stencil, note_sources, sources_of


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
