"""The features of the teacher that has looked already, for the controls that copy them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lfi.structures import ImageFeatures

from .cached_teacher import CachedLooks
from .teacher_identity import teacher_identity


def feature_identity(config: dict) -> dict:
    """The identity of a teacher's features, which is not that of its interaction maps."""
    return {**teacher_identity(config), 'kept': 'features'}


class CachedFeatures(CachedLooks):
    """A CNN teacher's features of the unaugmented images, seen in each view.

    Arguments and errors as `CachedLooks`.

    A view's embedding is the mean of the places that it shows, as the whole image's is of all of them. It is
    what the maps of a `CachedTeacher` are made of: one look at each image, whatever is learnt from it.
    """

    identity = staticmethod(feature_identity)

    def __call__(self, paths: Sequence[str], views: Tensor, grid: tuple[int, int]) -> ImageFeatures:
        """The features of views.

        Args:
            paths: the images' paths.
            views: (B, 2, 3), as `InteractionMaps.warp` has them, on the device where the features are wanted.
            grid: of the features' places.

        Raises:
            CacheError: if an image is not in the cache, or the cache is torn.
        """
        maps = self.read(paths, views.device)
        scale = maps.logits[:, 0].mean((-2, -1)).norm(dim=1)  # [B]
        return ImageFeatures.of_view(maps.warp(views, grid), scale, self.texts)
