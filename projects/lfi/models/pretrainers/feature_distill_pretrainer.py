"""Baselines of pretraining: the same backbone and teacher, without interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from lfi.models.feature_distill import FeatureDistillMixin
from lfi.models.losses import LogitKDLoss
from lfi.registry import MODELS

from .headless import UNREAD, HeadlessMixin, pooled, unread, with_unread


@MODELS.register_module()
class FeatureDistillPretrainer(FeatureDistillMixin, HeadlessMixin, ImageClassifier):
    """Pretrains a backbone by a teacher's features of images that have no label, as most other recipes do.

    `lfi.DenseFeaturesLoss` copies them location by location, `lfi.LightlyTrainLoss` compares images and
    locations as LightlyTrain does, `lfi.FeatureMSELoss` copies the image's embedding. All else is as of
    `lfi.LFIPretrainer`.

    Args:
        *args: of `FeatureDistillMixin` and `ImageClassifier`: the backbone.
        **kwargs: likewise.

    Raises:
        TypeError: as the mixin says.
        ValueError: if there is a neck or a head; if the loss compares class scores, which only a head has; or
            as the mixin says.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.distill_loss, LogitKDLoss):
            raise ValueError(
                'distill_loss=LogitKDLoss compares class scores, and without a head there are none: take '
                'lfi.DenseFeaturesLoss, or lfi.FeatureDistillClassifier'
            )

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """The distillation's losses and the prior's."""
        self.refuse_unaligned(inputs, data_samples)
        with self.backbone.record_interactions() as record:
            features = self.extract_feat(inputs)
        states, vectors = record.states, pooled(features[-1])
        losses = self.prior_losses(states)
        losses.update(self.distill_losses(inputs, data_samples, states, vectors, vectors[:, :0]))
        return with_unread({**losses, UNREAD: unread(features)})
