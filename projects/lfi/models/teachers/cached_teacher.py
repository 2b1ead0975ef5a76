"""The teacher that has looked already."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from lfi.registry import MODELS
from lfi.structures import InteractionMaps, unpack
from lfi.structures.interaction_cache import CacheError, InteractionCache, difference

from .concept_bank import ConceptBank
from .teacher_identity import teacher_identity


class CachedLooks:
    """What a teacher made of the unaugmented images, written once by `tools/cache_teacher.py`.

    Training with it needs neither the teacher's weights nor its time.

    Args:
        cache: the folder of the cache.
        teacher: config of the teacher that it must be of.

    Raises:
        CacheError: if there is no whole cache, or it is of another teacher; the message says which field
            differs.
    """

    identity = staticmethod(teacher_identity)
    """From a teacher's config to what a cache of it is known by."""

    def __init__(self, cache: str, teacher: dict) -> None:
        self.cache = open_cache(cache, self.identity(teacher))
        self.bank = bank_of(self.cache)
        self._texts = self.bank.embeddings

    def __deepcopy__(self, memo: dict) -> CachedLooks:
        # Averaged copies of a student (EMA) share its teacher.
        return self

    @property
    def directions(self) -> tuple[str, ...]:
        """The readings that its maps have."""
        return self.cache.manifest.directions

    @property
    def texts(self) -> Tensor:
        """The concepts' embeddings (C, E), on the device of the latest call."""
        return self._texts

    def read(self, paths: Sequence[str], device: torch.device) -> InteractionMaps:
        """What is kept of whole images.

        Args:
            paths: the images' paths.
            device: where it is wanted.

        Raises:
            CacheError: if an image is not in the cache, or the cache is torn.
        """
        self._texts = self._texts.to(device)
        manifest = self.cache.manifest
        return unpack(self.cache.read(paths), manifest.layers, manifest.directions, device)


@MODELS.register_module()
class CachedTeacher(CachedLooks):
    """Interaction maps of the unaugmented images. Arguments and errors as `CachedLooks`."""

    def __call__(self, paths: Sequence[str], device: torch.device) -> InteractionMaps:
        """The maps of whole images, on the teacher's own grid. Arguments and errors as `read`."""
        return self.read(paths, device)


def open_cache(folder: str, wanted: dict) -> InteractionCache:
    """A cache of a teacher of this identity.

    Raises:
        CacheError: if there is none, or of another teacher.
    """
    cache = InteractionCache(folder)
    cached = dict(cache.manifest.teacher)
    if wanted['weights'] is None and cached['weights'] is not None:
        print_log(f"{folder}: the teacher's weights are not at hand; taken on trust", 'current')
        wanted = {**wanted, 'weights': cached['weights']}
    found = difference('teacher', cached, wanted)
    if found:
        raise CacheError(
            f'{folder} does not fit the config: {found}. Write another by tools/cache_teacher.py'
        )
    return cache


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
