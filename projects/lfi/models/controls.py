"""Models that LFI must beat: the same student and teacher, without what LFI claims to help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from lfi.registry import MODELS
from lfi.structures import ImageFeatures, InteractionMaps

from .distill import (
    LFIImageClassifier,
    TeacherMixin,
    check_classes,
    pixel_format,
    recorded_views,
    refuse_mixed_images,
    require_interactions,
)
from .teachers import CachedFeatures, PixelFormat, VLMAttentionTeacher


@MODELS.register_module()
class FeatureDistillClassifier(TeacherMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` that learns from a VLM's features or logits, not from its interactions.

    As for LFI the backbone is an `InteractionQueryViT`, and the teacher sees each view as the student does.

    Args:
        *args: of `ImageClassifier`.
        teacher: config of the `VLMAttentionTeacher`; its concepts begin with the classes.
        distill_loss: config of a loss of two `ImageFeatures`.
        teacher_cache: folder of the features that `tools/cache_teacher.py` wrote for this config, to be read
            in place of asking the teacher, as `CachedFeatures` says. Defaults to None.
        **kwargs: of `ImageClassifier`.

    Raises:
        TypeError: if the backbone records no interactions.
        ValueError: if images are mixed (Mixup, CutMix) while their features come from a cache; or, when
            training begins, if the teacher has fewer concepts than the head classes.
    """

    cached_kind = CachedFeatures

    def __init__(
        self, *args, teacher: dict, distill_loss: dict, teacher_cache: str | None = None, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        require_interactions(self)
        if teacher_cache is not None:
            refuse_mixed_images(self.data_preprocessor, teacher_cache)
        self._teacher_cfg = teacher
        self._teacher_cache = teacher_cache
        self.distill_loss = MODELS.build(distill_loss)

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedFeatures) -> None:
        """Check that it knows every class."""
        check_classes(self.head.num_classes, teacher)

    def maps_to_cache(
        self,
        inputs: Tensor,
        pixels: PixelFormat,
        data_samples: Sequence,
        valid_sizes: Sequence[tuple[int, int]],
    ) -> InteractionMaps:
        """What a cache keeps of a batch of unaugmented images; arguments as of the teacher."""
        return self.teacher.features(inputs, pixels, valid_sizes).as_maps(self.teacher.logit_scale)

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """The task's losses, joined by the distillation's."""
        with self.backbone.record_interactions() as record:
            features = self.extract_feat(inputs)
        losses = self.head.loss(features, data_samples)
        scores = self.head(features)
        states = record.states
        n = states.grid[0] * states.grid[1]
        places = states.tokens[-1][:, -n:].mT.unflatten(-1, states.grid)  # [B, C, H, W]
        student = ImageFeatures(features[-1], scores, places)
        teacher = self._teacher_features(inputs, data_samples, states.grid)
        teacher = replace(teacher, scores=teacher.scores[:, : scores.shape[1]])
        losses.update(self.distill_loss(student, teacher))
        return losses

    def _teacher_features(
        self, inputs: Tensor, data_samples: Sequence, grid: tuple[int, int]
    ) -> ImageFeatures:
        if isinstance(self.teacher, CachedFeatures):
            views = recorded_views(data_samples).to(inputs.device, non_blocking=True)
            return self.teacher([sample.img_path for sample in data_samples], views, grid)
        return self.teacher.features(inputs, pixel_format(self.data_preprocessor))


@MODELS.register_module()
class ShuffledFeaturesClassifier(FeatureDistillClassifier):
    """`FeatureDistillClassifier` whose images get the teacher's features of another image of the batch.

    What helps here is a habit that all features share, such as that neighbouring places are alike, and no
    knowledge of the image.
    """

    @staticmethod
    def change(features: ImageFeatures) -> ImageFeatures:
        """Each image takes all features of the one before it."""
        return ImageFeatures(
            features.pooled.roll(1, 0), features.scores.roll(1, 0), features.places.roll(1, 0)
        )

    def _teacher_features(self, *args) -> ImageFeatures:
        return self.change(super()._teacher_features(*args))


class _ChangedMapsClassifier(LFIImageClassifier):
    """Changes what the student learns from; what it is measured by afterwards are the teacher's own maps."""

    def _ask_teacher(self, *args) -> tuple[InteractionMaps, Tensor]:
        maps, labels = super()._ask_teacher(*args)
        return (self.change(maps) if self.training else maps), labels


@MODELS.register_module()
class ShuffledImagesClassifier(_ChangedMapsClassifier):
    """`LFIImageClassifier` whose images get the teacher's maps of another image of the batch.

    What helps here is no knowledge of the image. Labels stay with their images.
    """

    @staticmethod
    def change(maps: InteractionMaps) -> InteractionMaps:
        """Each image takes the maps, concepts and presence of the one before it."""
        return replace(
            maps,
            logits=maps.logits.roll(1, 0),
            presence=maps.presence.roll(1, 0),
            valid=maps.valid.roll(1, 0),
            concepts=None if maps.concepts is None else maps.concepts.roll(1, 0),
        )


@MODELS.register_module()
class ShuffledPlacesClassifier(_ChangedMapsClassifier):
    """`LFIImageClassifier` whose maps tell what an image shows, and not where.

    The places of each image's maps are shuffled, all concepts and layers alike, anew in every step.
    """

    @staticmethod
    def change(maps: InteractionMaps) -> InteractionMaps:
        """Each image's places in an order of their own."""
        b, n_layers, m, h, w = maps.logits.shape
        order = torch.rand(b, h * w, device=maps.logits.device).argsort(1)
        wide = order[:, None, None].expand(b, n_layers, m, -1)
        return replace(
            maps,
            logits=maps.logits.flatten(-2).gather(-1, wide).view_as(maps.logits),
            valid=maps.valid.flatten(1).gather(1, order).view_as(maps.valid),
        )
