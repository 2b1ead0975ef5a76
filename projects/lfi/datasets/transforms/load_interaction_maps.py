"""The teacher's maps of an image, from a cache."""

from __future__ import annotations

from pathlib import Path

from mmcv.transforms import BaseTransform

from lfi.errors import UsageError
from lfi.registry import TRANSFORMS
from lfi.structures.interaction_cache import InteractionCache
from lfi.structures.labels import UNLABELLED

from .mixed_sources import pieces_of, refuse_unrecorded_changes


@TRANSFORMS.register_module()
class LoadInteractionMaps(BaseTransform):
    """Reads what a cache holds of an image, or of all that `lfi.RecordedMosaic` and its like show.

    The data loader's workers read it.

    It sets `interaction_maps`, a `StoredMaps`. Pass it on, with the `view` that the model warps the maps
    into, by `PackInputs(algorithm_keys=('view', 'interaction_maps'))`, in detection by
    `PackDetInputs(meta_keys=(..., 'view', 'interaction_maps'))`.

    Args:
        cache: the folder that `tools/cache_teacher.py` wrote, the same as `model.teacher_cache`.
            `tools/train.py` fills it in from there. Defaults to None: nothing is read, and the teacher is
            asked online.

    Raises:
        UsageError: for an image that a step outside `lfi.RecordView` has flipped, resized or cropped, as far
            as its size and mmdet's notes tell; `refuse_unrecorded_steps` tells the rest from the config. And
            for an image whose label is hidden, of a cache that tells it.
        CacheError: for the first image, if there is no complete cache; or for an image that it does not hold.
    """

    def __init__(self, cache: str | Path | None = None) -> None:
        self.cache = cache
        # Opened by the process that reads: memory maps do not travel to workers.
        self._opened: InteractionCache | None = None

    def __getstate__(self) -> dict:
        """Leave the opened cache behind."""
        return {**vars(self), '_opened': None}

    def transform(self, results: dict) -> dict:
        """Read the record of `img_path`."""
        if self.cache is None:
            return results
        refuse_unrecorded_changes(results)
        if self._opened is None:
            self._opened = InteractionCache(self.cache)
        if results.get(UNLABELLED) and self._opened.manifest.tells_labels:
            raise UsageError(
                f'{results["img_path"]}: its label is hidden by lfi.FewLabels, and {self.cache} was written '
                'with all labels, which chose the concepts whose maps it keeps: they tell the label. Write '
                'another by tools/cache_teacher.py with the config of this training'
            )
        results['interaction_maps'] = self._opened.stored(*pieces_of(results))
        return results

    def __repr__(self) -> str:
        """With the cache's folder."""
        return f'{type(self).__name__}(cache={self.cache!r})'
