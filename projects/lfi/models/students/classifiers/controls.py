"""Negative controls: the same training, with what is image-specific in the teacher destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lfi.models.losses.means import RunningMean
from lfi.models.students.another_image import AnotherImagesMapsMixin, require_others
from lfi.registry import MODELS
from lfi.structures import ImageFeatures, InteractionMaps

from .baselines import FeatureDistillClassifier
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


@MODELS.register_module()
class MeanTargetClassifier(LFIImageClassifier):
    """`LFIImageClassifier` that learns one map for each concept, whatever the image.

    What helps here is not image-specific, but for presence and labels, which stay with their images. The map
    is the mean of what the loss reads from the teacher's maps of all views so far, those of this batch
    included: over locations the mean of the concept's probabilities, by its presence in each view; over
    concepts the mean of its probabilities at each location, where it was asked about. No other constant is
    nearer to the images' own maps, as the loss has it.

    Checkpoints keep the means. All images must have one size. What the student is measured by afterwards are
    the teacher's own maps.

    Args:
        *args: of `LFIImageClassifier`.
        **kwargs: of `LFIImageClassifier`.
    """

    copies_features = False
    training_only: ClassVar[tuple[str, ...]] = ('mean_positions', 'mean_concepts')

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mean_positions = RunningMean()
        self.mean_concepts = RunningMean()

    def _read(self, maps: InteractionMaps, labels: Tensor) -> InteractionMaps:
        # After the reading: presence is read from the image's own maps.
        maps = super()._read(maps, labels)
        return self.change(maps) if self.training else maps

    def change(self, maps: InteractionMaps) -> InteractionMaps:
        """The mean maps of each image's concepts, this batch's counted; `REST` has a mean of its own."""
        chosen = _one_hot(maps, self.teacher.bank.num_concepts)  # [B, M, C + 1]
        loss = self.interaction_loss
        with torch.autocast(maps.logits.device.type, enabled=False):
            present = maps.presence[..., None] * chosen
            over_positions = maps.over_positions(loss.positions_scale(maps)).exp()
            mean = _mean_of(over_positions, maps.valid, present, chosen, self.mean_positions)
            changed = replace(maps, positions=loss.positions_temperature * mean)
            if 'concepts' in maps.directions:
                over_concepts = maps.over_concepts(loss.concepts_temperature).exp()
                mean = _mean_of(over_concepts, maps.valid, chosen, chosen, self.mean_concepts)
                changed = replace(changed, logits=loss.concepts_temperature * mean)
            return changed


def _one_hot(maps: InteractionMaps, num_concepts: int) -> Tensor:
    """Which concept each map is of, (B, M, C + 1); `REST` is the last."""
    concepts = maps.concepts
    if concepts is None:
        concepts = torch.arange(num_concepts, device=maps.logits.device).expand(len(maps.logits), -1)
    # Remainders put REST, which is -1, behind the others. `F.one_hot` would wait for the device.
    every = torch.arange(num_concepts + 1, device=concepts.device)
    return (concepts.remainder(num_concepts + 1)[..., None] == every).float()


def _mean_of(p: Tensor, valid: Tensor, weight: Tensor, chosen: Tensor, mean: RunningMean) -> Tensor:
    """Add maps to the means of their concepts, and read out the logarithms of these, (B, L, M, H, W).

    Args:
        p: (B, L, M, H, W), probabilities.
        valid: (B, H, W) bool.
        weight: (B, M, C + 1), of each map in the mean of each concept.
        chosen: (B, M, C + 1), the concept of each map.
        mean: of the concepts, (L, C + 1, H, W).
    """
    seen = valid.float()
    mean.add(
        torch.einsum('bmc,blmhw,bhw->lchw', weight, p, seen),
        torch.einsum('bmc,bhw->chw', weight, seen),
    )
    # A concept that was never present has no mean, and no weight in the loss.
    return torch.einsum('bmc,lchw->blmhw', chosen, mean.mean.clamp_min(1e-12).log())
