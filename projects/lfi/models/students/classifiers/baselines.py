"""Baselines: the task loss alone, with the prior, and with features in place of interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from lfi.models.students.feature_distill import FeatureDistillMixin
from lfi.models.students.student import StudentMixin
from lfi.models.students.unlabelled import LabelledHeadMixin
from lfi.models.teachers import CachedOutputs, VLMAttentionTeacher
from lfi.registry import MODELS

from .lfi_image_classifier import check_classes


@MODELS.register_module()
class LabelledImageClassifier(LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` with any backbone, whose head learns from the labelled images alone.

    The baseline of an adapted backbone with few labels (`lfi.FewLabels`): images without a label pass through
    the backbone, and so through its batch norms, and have no loss.
    """


@MODELS.register_module()
class PriorImageClassifier(StudentMixin, LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` with an option `affinity_prior`, and no teacher.

    As for LFI the backbone is an `InteractionQueryViT`, by default a plain ViT.
    Images without a label (`lfi.FewLabels`) take part in the prior alone.
    """


@MODELS.register_module()
class FeatureDistillClassifier(FeatureDistillMixin, LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` that learns from a VLM's features or logits, not from its interactions.

    Images without a label (`lfi.FewLabels`) take part in `distill_loss` alone. The head runs a second time
    for the scores that it distils: batch normalisation in it would count a batch twice.

    Args:
        *args: of `FeatureDistillMixin` and `ImageClassifier`.
        teacher: config of the `VLMAttentionTeacher`; its concepts begin with the classes.
        distill_loss: as `FeatureDistillMixin` says.
        teacher_cache: folder of the features that `lfi cache` wrote for this config, to be read
            in place of asking the teacher, as `CachedFeatures` says. Defaults to None.
        **kwargs: of `FeatureDistillMixin` and `ImageClassifier`.

    Raises:
        TypeError: as the mixin says.
        ValueError: as the mixin says; when training begins, if the teacher has fewer concepts than the head
            classes; or in a step whose images are padded, since what is copied does not tell padding from
            image.
    """

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that it knows every class."""
        check_classes(self.head.num_classes, teacher)

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """The task's losses, joined by the distillation's and the prior's."""
        self.refuse_unaligned(inputs, data_samples)
        with self.backbone.record_interactions() as record:
            features = self.extract_feat(inputs)
        losses = self.head_loss(features, data_samples)
        scores = self.head(features)
        states = record.states
        losses.update(self.prior_losses(states))
        losses.update(self.distill_losses(inputs, data_samples, states, features[-1], scores))
        return losses
