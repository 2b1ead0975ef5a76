"""The cached features of a teacher, for the baselines that copy them."""

from __future__ import annotations

from lfi.structures import ImageFeatures, Pieces, mean_maps
from lfi.structures.interaction_cache import CacheError

from .cached_teacher import CachedOutputs
from .teacher_batch import TeacherBatch
from .teacher_identity import teacher_identity


def feature_identity(config: dict) -> dict:
    """The identity of a teacher's features, which is not that of its interaction maps."""
    return {**teacher_identity(config), 'kept': 'features'}


class CachedFeatures(CachedOutputs):
    """A CNN teacher's features of the unaugmented images, seen in each view.

    Arguments and errors as `CachedOutputs`.

    A view's embedding is the mean of the locations that it shows, as the unaugmented image's is of all of
    them. Mixed images have the mixed features, location by location. The maps of a `CachedTeacher` are made
    of the same locations: one pass over the images, whatever is learnt from it.
    """

    identity = staticmethod(feature_identity)

    def ask_features(self, batch: TeacherBatch, grid: tuple[int, int]) -> ImageFeatures:
        """The features of a batch's views.

        Args:
            batch: of the views.
            grid: (H, W) of the features' locations.

        Raises:
            CacheError: as `seen`; and for pictures that the pipeline has mixed.
        """
        maps, views = self.seen(batch)
        scale = maps.logits[:, 0].mean((-2, -1)).norm(dim=1)  # [B]
        if batch.pieces is not None:
            raise CacheError(
                'features of mosaics are not pasted: leave out lfi.RecordedMosaic and lfi.RecordedMixUp'
            )
        if batch.mixture is None:
            maps = maps.warp(views, grid)
        else:
            # Each image's features have a mean of the same length, the scale of the teacher's logits.
            pieces = [Pieces.whole(view) for view in views]
            maps = mean_maps(*batch.mixture.sources(maps, pieces, grid))
        return ImageFeatures.of_view(maps, scale, self.texts)
