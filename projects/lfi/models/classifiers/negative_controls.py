"""Negative controls: the same training, with what is image-specific in the teacher destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lfi.models.other_images import AnotherImagesMapsMixin, require_others
from lfi.registry import MODELS
from lfi.structures import ImageFeatures, InteractionMaps

from .feature_distill_classifier import FeatureDistillClassifier
from .lfi_image_classifier import LFIImageClassifier


@MODELS.register_module()
class ShuffledFeaturesClassifier(FeatureDistillClassifier):
    """`FeatureDistillClassifier` whose images get the teacher's features of another image of the batch.

    What helps here is what all features share, such as that neighbouring locations are alike: it is not
    image-specific.
    """

    @staticmethod
    def change(features: ImageFeatures) -> ImageFeatures:
        """Each image takes all features of the one before it.

        Raises:
            ValueError: if there is one image alone.
        """
        require_others(len(features.pooled))
        return ImageFeatures(
            features.pooled.roll(1, 0), features.scores.roll(1, 0), features.locations.roll(1, 0)
        )

    def _ask_teacher(self, inputs: Tensor, data_samples: Sequence, grid: tuple[int, int]) -> ImageFeatures:
        return self.change(super()._ask_teacher(inputs, data_samples, grid))


@MODELS.register_module()
class ShuffledImagesClassifier(AnotherImagesMapsMixin, LFIImageClassifier):
    """`LFIImageClassifier` whose images get the teacher's maps of another image of the batch.

    What helps here is not image-specific. Labels stay with their images, and raise the presence of their
    concepts where the other image was asked about them too. Features that it copies are another image's too.
    """

    def _change_features(self, features: ImageFeatures) -> ImageFeatures:
        return ShuffledFeaturesClassifier.change(features) if self.training else features


@MODELS.register_module()
class ShuffledPlacesClassifier(LFIImageClassifier):
    """`LFIImageClassifier` whose maps tell what an image shows, and not where.

    The valid locations of each image's maps are shuffled, all concepts and layers alike, anew in every step.
    What the student is measured by afterwards are the teacher's own maps.
    """

    copies_features = False

    def _change(self, maps: InteractionMaps) -> InteractionMaps:
        return self.change(maps) if self.training else maps

    @staticmethod
    def change(maps: InteractionMaps) -> InteractionMaps:
        """Each image's locations in an order of their own."""
        b, n_layers, m, h, w = maps.logits.shape
        padding = (~maps.valid).flatten(1).float()
        # The valid locations in any order before the others, and from there back to where they lie.
        drawn = (torch.rand(b, h * w, device=maps.logits.device) + padding).argsort(1)
        order = torch.empty_like(drawn).scatter_(1, padding.argsort(dim=1, stable=True), drawn)
        wide = order[:, None, None].expand(b, n_layers, m, -1)
        return replace(maps, logits=maps.logits.flatten(-2).gather(-1, wide).view_as(maps.logits))
