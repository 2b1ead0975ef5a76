"""The teacher's maps of an image, from a cache."""

from __future__ import annotations

from pathlib import Path

from mmcv.transforms import BaseTransform

from lfi.errors import UsageError
from lfi.registry import TRANSFORMS
from lfi.structures.interaction_cache import InteractionCache
from lfi.structures.labels import UNLABELLED

from .record_view import Geometry, Recorded, geometry_of


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
        _refuse_unrecorded_changes(results)
        if self._opened is None:
            self._opened = InteractionCache(self.cache)
        if results.get(UNLABELLED) and self._opened.manifest.tells_labels:
            raise UsageError(
                f'{results["img_path"]}: its label is hidden by lfi.FewLabels, and {self.cache} was written '
                'with all labels, which chose the concepts whose maps it keeps: they tell the label. Write '
                'another by tools/cache_teacher.py with the config of this training'
            )
        results['interaction_maps'] = self._opened.stored(results['img_path'])
        return results

    def __repr__(self) -> str:
        """With the cache's folder."""
        return f'{type(self).__name__}(cache={self.cache!r})'


def _refuse_unrecorded_changes(results: dict) -> None:
    recorded: Recorded | None = results.get('recorded')
    if recorded is None:
        return
    came, left, now = recorded.came, recorded.left, geometry_of(results)
    if came is not None:
        loaded = Geometry(tuple(results.get('ori_shape', came.size)[:2]))
        _refuse_change('before', loaded, came, results)
    _refuse_change('after', left, now, results)


def _refuse_change(when: str, known: Geometry, found: Geometry, results: dict) -> None:
    # A flip that is not drawn takes back the word of an earlier one, and no pixel.
    if found._replace(flip=found.flip or known.flip) != known:
        raise UsageError(
            f'{results["img_path"]}: a step {when} lfi.RecordView has changed the image, {known.size} pixels '
            f'with flip={known.flip!r}, to {found.size} with flip={found.flip!r}: its cached maps would be '
            'read at wrong locations. '
            'Put all steps that move pixels into RecordView'
        )
