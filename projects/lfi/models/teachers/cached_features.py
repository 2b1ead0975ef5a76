"""The features of the teacher that has looked already, for the controls that copy them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lfi.structures import ImageFeatures, unpack

from .cached_teacher import bank_of, open_cache
from .teacher_identity import teacher_identity


class CachedFeatures:
    """A CNN teacher's features of the unaugmented images, seen in each view.

    A view's embedding is the mean of the places that it shows, as the whole image's is of all of them. It is
    what the maps of a `CachedTeacher` are made of: one look at each image, whatever is learnt from it.

    Args:
        cache: the folder of the cache.
        teacher: config of the teacher that the features must be of.

    Raises:
        CacheError: as `CachedTeacher`.
    """

    def __init__(self, cache: str, teacher: dict) -> None:
        self.cache = open_cache(cache, feature_identity(teacher))
        self.bank = bank_of(self.cache)
        self._texts = self.bank.embeddings

    def __deepcopy__(self, memo: dict) -> CachedFeatures:
        # Averaged copies of a student (EMA) share its teacher.
        return self

    @property
    def texts(self) -> Tensor:
        """The concepts' embeddings (C, E), on the device of the latest features."""
        return self._texts

    def __call__(self, paths: Sequence[str], views: Tensor, grid: tuple[int, int]) -> ImageFeatures:
        """The features of views.

        Args:
            paths: the images' paths.
            views: (B, 2, 3), as `InteractionMaps.warp` has them, on the device where the features are wanted.
            grid: of the features' places.

        Raises:
            CacheError: if an image is not in the cache, or the cache is torn.
        """
        self._texts = self._texts.to(views.device)
        manifest = self.cache.manifest
        maps = unpack(self.cache.read(paths), manifest.layers, manifest.directions, views.device)
        scale = maps.logits[:, 0].mean((-2, -1)).norm(dim=1)  # [B]
        return ImageFeatures.of_view(maps.warp(views, grid), scale, self._texts)


def feature_identity(config: dict) -> dict:
    """The identity of a teacher's features, which is not that of its interaction maps."""
    return {**teacher_identity(config), 'kept': 'features'}
