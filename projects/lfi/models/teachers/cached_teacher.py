"""A teacher whose outputs are in a cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.structures import InteractionMaps, unpack
from lfi.structures.interaction_cache import CacheError, InteractionCache, StoredMaps, difference

from .families import AUTO
from .teacher_batch import TeacherBatch, asked_at_once
from .teacher_identity import teacher_identity


class CachedOutputs:
    """What a teacher said of the unaugmented images, written once by `tools/cache_teacher.py`.

    Training with it needs neither the teacher's weights nor its time. The data loader's workers read the
    records (`lfi.LoadInteractionMaps`); here is what the manifest knows, and how records become maps.

    Args:
        cache: the folder of the cache.
        teacher: config of the teacher that it must be of.

    Raises:
        CacheError: if there is no complete cache, or it is of another teacher; the message says which field
            differs.
    """

    identity = staticmethod(teacher_identity)
    """From a teacher's config to what a cache of it is known by."""

    def __init__(self, cache: str, teacher: dict) -> None:
        self.cache = open_cache(cache, self.identity(teacher))
        self.bank = bank_of(self.cache)
        self._texts = self.bank.embeddings

    def __deepcopy__(self, memo: dict) -> CachedOutputs:
        # Averaged copies of a student (EMA) share its teacher.
        return self

    @property
    def directions(self) -> tuple[str, ...]:
        """The readings that its maps have."""
        return self.cache.manifest.directions

    @property
    def own_presence(self) -> str | None:
        """What presence is, as `VLMAttentionTeacher.own_presence` says; None if the cache does not say."""
        return self.cache.manifest.own_presence

    @property
    def max_concepts(self) -> int | None:
        """How many concepts an image was asked about; None where these are all of the bank."""
        return asked_at_once(self.bank, self.cache.manifest.teacher.get('max_concepts'))

    @property
    def texts(self) -> Tensor:
        """The concepts' embeddings (C, E), on the device of the latest call."""
        return self._texts

    def maps_of(self, stored: Sequence[StoredMaps], device: torch.device) -> InteractionMaps:
        """The maps of unaugmented images, on the teacher's own grid.

        Args:
            stored: what the cache holds of each image.
            device: where the maps are wanted.

        Raises:
            CacheError: if a record is of another cache.
        """
        if any(one.cache != self.cache.digest for one in stored):
            raise CacheError(
                f'model.teacher_cache={str(self.cache.folder)!r}, but the pipeline reads another cache: give '
                'lfi.LoadInteractionMaps the same folder'
            )
        self._texts = self._texts.to(device)
        manifest = self.cache.manifest
        records = np.concatenate([one.record for one in stored])
        return unpack(records, manifest.layers, manifest.directions, device)

    def seen(self, batch: TeacherBatch) -> tuple[InteractionMaps, Tensor]:
        """The maps of a batch's unaugmented images, and the views (B, 2, 3) to warp them into.

        Raises:
            CacheError: as `maps_of`; and if the pipeline has read no maps, or recorded no views.
        """
        if batch.stored is None:
            raise CacheError(
                f"model.teacher_cache={str(self.cache.folder)!r} needs each image's maps: put "
                "dict(type='lfi.LoadInteractionMaps', cache=...) with this folder into train_pipeline, that "
                'of each data set, and '
                "pack what it reads: PackInputs has algorithm_keys=('view', 'interaction_maps'), "
                "PackDetInputs meta_keys=(..., 'view', 'interaction_maps')"
            )
        if batch.views is None:
            raise CacheError(
                "model.teacher_cache needs each image's view: put the transforms of train_pipeline that move "
                "pixels, in each data set's, into dict(type='lfi.RecordView', transforms=[...]), and pack it:"
                " PackInputs has algorithm_keys=('view', ...), PackDetInputs meta_keys=(..., 'view')"
            )
        return self.maps_of(batch.stored, batch.inputs.device), batch.views


class CachedTeacher(CachedOutputs):
    """Interaction maps of the unaugmented images. Arguments and errors as `CachedOutputs`."""

    def __init__(self, cache: str, teacher: dict) -> None:
        super().__init__(cache, teacher)
        if not self.cache.manifest.keeps_chosen:
            check_map_count(self.cache, len(self.bank))

    def ask(self, batch: TeacherBatch) -> tuple[InteractionMaps, Tensor]:
        """The maps of a batch's unaugmented images, on their own grid, and the views to warp them into.

        Presence is the teacher's own, that of the unaugmented image.

        Raises:
            CacheError: as `seen`.
        """
        return self.seen(batch)


def open_cache(folder: str, wanted: dict) -> InteractionCache:
    """A cache of a teacher of this identity.

    Raises:
        CacheError: if there is none, or of another teacher.
    """
    cache = InteractionCache(folder)
    cached = dict(cache.manifest.teacher)
    if wanted['weights'] is None and cached.get('weights') is not None:
        print_log(f"{folder}: the teacher's weights are not at hand; taken on trust", 'current')
        wanted = {**wanted, 'weights': cached['weights']}
        if wanted.get('extractor') == dict(type=AUTO) and 'extractor' in cached:
            wanted['extractor'] = cached['extractor']
        if 'whole_patches' in cached:
            # Whether patches fill the model's own size is not known either.
            wanted['whole_patches'] = cached['whole_patches']
    found = difference('teacher', cached, wanted)
    if found:
        raise CacheError(
            f'{folder} does not fit the config: {found}. Write another by tools/cache_teacher.py'
        )
    return cache


def check_map_count(cache: InteractionCache, count: int) -> None:
    """Raise a CacheError if a cache's records have not so many maps."""
    found = cache.manifest.dtype['presence'].shape[0]
    if found != count:
        raise CacheError(
            f'{cache.folder} is corrupted: its records have {found} maps, and its texts make them {count}. '
            'Write another by tools/cache_teacher.py'
        )


def bank_of(cache: InteractionCache) -> ConceptBank:
    """The concepts that a cache's teacher knew."""
    cached = cache.manifest.teacher
    background = cached['background']
    return ConceptBank(
        (*cached['concepts'], *background),
        tuple(cached['templates']),
        torch.from_numpy(cache.texts),
        len(background),
    )
