"""The teacher's maps of an image, from a cache."""

from __future__ import annotations

from pathlib import Path

from mmcv.transforms import BaseTransform

from lfi.registry import TRANSFORMS
from lfi.structures.interaction_cache import InteractionCache


@TRANSFORMS.register_module()
class LoadInteractionMaps(BaseTransform):
    """Reads what a cache holds of an image, in the data loader's workers.

    It sets `interaction_maps`, a `StoredMaps`. Pass it on, with the `view` that the model warps the maps
    into, by `PackInputs(algorithm_keys=('view', 'interaction_maps'))`, in detection by
    `PackDetInputs(meta_keys=(..., 'view', 'interaction_maps'))`.

    Args:
        cache: the folder that `tools/cache_teacher.py` wrote, the same as `model.teacher_cache`.
            `tools/train.py` fills it in from there. Defaults to None: nothing is read, and the teacher is
            asked online.

    Raises:
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
        if self._opened is None:
            self._opened = InteractionCache(self.cache)
        results['interaction_maps'] = self._opened.stored(results['img_path'])
        return results

    def __repr__(self) -> str:
        """With the cache's folder."""
        return f'{type(self).__name__}(cache={self.cache!r})'
