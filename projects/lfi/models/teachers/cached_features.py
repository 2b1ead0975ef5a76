"""The cached features of a teacher, for what copies them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.structures import (
    DIRECTIONS,
    ImageFeatures,
    InteractionMaps,
    Pieces,
    mean_maps,
    shown_enough,
    shown_shares,
)
from lfi.structures.interaction_cache import CacheError

from .cached_teacher import CachedOutputs, check_map_count
from .teacher_batch import TeacherBatch, most_present
from .teacher_identity import teacher_identity
from .vlm_attention_teacher import VLMAttentionTeacher


def feature_identity(config: dict) -> dict:
    """The identity of a teacher's features, which is not that of its interaction maps."""
    return {**teacher_identity(config), 'kept': 'features'}


def features_to_cache(teacher: VLMAttentionTeacher, batch: TeacherBatch) -> InteractionMaps:
    """What a cache of features keeps of unaugmented images.

    Args:
        teacher: a CNN.
        batch: the images.

    Raises:
        ValueError: as `VLMAttentionTeacher.features` and `ImageFeatures.as_maps` say; and if the teacher
            judges each concept by itself, for of features a cache tells the softmax over the bank.
    """
    if teacher.logit_bias is not None:
        raise ValueError(
            'features cannot be cached of a teacher with a logit_bias, as SigLIP has one: its presence is no '
            'softmax over the bank. Train without teacher_cache'
        )
    features = teacher.features(batch.inputs, batch.pixels, batch.valid_sizes)
    return features.as_maps(teacher.logit_scale)


class CachedFeatures(CachedOutputs):
    """A CNN teacher's features of the unaugmented images, seen in each view.

    Arguments and errors as `CachedOutputs`.

    A view's embedding is the mean of the locations that it shows, as the unaugmented image's is of all of
    them. Mixed images have the mixed features, location by location. The maps of a `CachedTeacher` are made
    of the same locations: one pass over the images, whatever is learnt from it.
    """

    identity = staticmethod(feature_identity)

    def __init__(self, cache: str, teacher: dict) -> None:
        super().__init__(cache, teacher)
        # One for each channel.
        check_map_count(self.cache, self.texts.shape[1])

    @property
    def directions(self) -> tuple[str, ...]:
        """The readings that the maps of `ask` have."""
        return DIRECTIONS

    def ask(self, batch: TeacherBatch) -> tuple[InteractionMaps, Tensor]:
        """The maps of the concepts' texts with the features; arguments and errors as `CachedTeacher.ask`."""
        features, views = self.seen(batch)
        locations = features.logits[:, 0]  # [B, E, h, w]
        with torch.autocast(locations.device.type, enabled=False):
            logits = torch.einsum('ce,behw->bchw', self.texts, locations)
        maps = InteractionMaps(
            logits=logits[:, None],
            # The mean of a concept's map is the image's own logit.
            presence=logits.mean((-2, -1)).softmax(-1),
            valid=features.valid,
            layers=features.layers,
        )
        if self.max_concepts is not None:
            maps = most_present(maps, batch.labels, self.bank, self.max_concepts)
        return maps, views

    def ask_features(self, batch: TeacherBatch, grid: tuple[int, int]) -> ImageFeatures:
        """The features of a batch's views.

        Args:
            batch: of the views.
            grid: (H, W) of the features' locations.

        Raises:
            CacheError: as `seen`; for pictures that the pipeline has mixed; and for one that shows filler in
                more than half of a location, where there are no features.
        """
        maps, views = self.seen(batch)
        scale = maps.logits[:, 0].mean((-2, -1)).norm(dim=1)  # [B]
        if batch.pieces is not None:
            _refuse_filler(batch.pieces, grid)
        if batch.mixture is None:
            maps = maps.warp(views, grid)
        else:
            # Each image's features have a mean of the same length, the scale of the teacher's logits.
            pieces = [Pieces.whole(view) for view in views]
            maps = mean_maps(*batch.mixture.sources(maps, pieces, grid))
        return ImageFeatures.of_view(maps, scale, self.texts)


def _refuse_filler(pieces: Sequence[Pieces], grid: tuple[int, int]) -> None:
    """Refuse pictures of several images, and those of which some location of a grid mostly shows filler."""
    if any(len(one.shares) > 1 for one in pieces):
        raise CacheError(
            'features of mosaics are not pasted: leave out lfi.RecordedMosaic and lfi.RecordedMixUp'
        )
    # What was recorded stays on the CPU: no device is waited for.
    if not shown_enough(shown_shares(pieces, grid)).all():
        raise CacheError(
            'a picture shows filler, where the cache has no features: leave out of train_pipeline what pads, '
            'shifts, shears, rotates or erases (RandomCrop with padding, RandAugment), or train without '
            'teacher_cache'
        )
