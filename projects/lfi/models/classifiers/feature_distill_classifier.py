"""Baselines: the same student and teacher, without interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from lfi.models.batches import refuse_overhang, refuse_padding
from lfi.models.student import learn_locations
from lfi.models.teacher_mixin import TeacherMixin
from lfi.models.teachers import (
    CachedFeatures,
    CachedOutputs,
    TeacherBatch,
    VLMAttentionTeacher,
    features_to_cache,
)
from lfi.models.unlabelled import LabelledHeadMixin
from lfi.registry import MODELS
from lfi.structures import ImageFeatures, InteractionMaps

from .lfi_image_classifier import check_classes


@MODELS.register_module()
class FeatureDistillClassifier(TeacherMixin, LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` that learns from a VLM's features or logits, not from its interactions.

    As for LFI the backbone is an `InteractionQueryViT`, and the teacher sees each view as the student does.
    Images without a label (`lfi.FewLabels`) take part in `distill_loss` alone. The head runs a second time
    for the scores that it distils: batch normalisation in it would count a batch twice.

    Args:
        *args: of `TeacherMixin` and `ImageClassifier`.
        teacher: config of the `VLMAttentionTeacher`; its concepts begin with the classes.
        distill_loss: config of a loss of two `ImageFeatures`, whose class says by `by_location` whether it
            compares location by location.
        teacher_cache: folder of the features that `tools/cache_teacher.py` wrote for this config, to be read
            in place of asking the teacher, as `CachedFeatures` says. Defaults to None.
        **kwargs: of `TeacherMixin` and `ImageClassifier`.

    Raises:
        TypeError: if the backbone records no interactions, or the loss does not say what it compares.
        ValueError: if images are mixed while their features come from a cache, and not as `record_mixtures`
            knows it; when training begins, if the teacher has fewer concepts than the head classes; or in a
            step whose images are padded, since what is copied does not tell padding from image.
    """

    cached_kind = CachedFeatures
    training_only: ClassVar[tuple[str, ...]] = ('distill_loss',)

    def __init__(self, *args: Any, distill_loss: dict, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.distill_loss = MODELS.build(distill_loss)
        kind = type(self.distill_loss)
        if not hasattr(kind, 'by_location'):
            raise TypeError(
                f'{kind.__name__} does not say what it compares: give the class by_location = True where it '
                "reads the student's locations, and False where it reads pooled features or scores alone"
            )
        if self.distill_loss.by_location:
            learn_locations(self.backbone, True)

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that it knows every class."""
        check_classes(self.head.num_classes, teacher)

    if TYPE_CHECKING:

        @property
        def teacher(self) -> VLMAttentionTeacher | CachedFeatures:
            """As `TeacherMixin.teacher`."""

    def maps_to_cache(self, batch: TeacherBatch, data_samples: Sequence) -> InteractionMaps:
        """As `TeacherMixin.maps_to_cache`: the teacher's features."""
        return features_to_cache(self.online_teacher, batch)

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """The task's losses, joined by the distillation's and the prior's."""
        refuse_padding(inputs, data_samples)
        if self.distill_loss.by_location:
            refuse_overhang(self.backbone, inputs)
        with self.backbone.record_interactions() as record:
            features = self.extract_feat(inputs)
        losses = self.head_loss(features, data_samples)
        scores = self.head(features)
        states = record.states
        losses.update(self.prior_losses(states))
        student = ImageFeatures(features[-1], scores, states.locations())
        teacher = self._ask_teacher(inputs, data_samples, states.grid)
        teacher = replace(teacher, scores=teacher.scores[:, : scores.shape[1]])
        losses.update(self.distill_loss(student, teacher))
        return losses

    def _ask_teacher(self, inputs: Tensor, data_samples: Sequence, grid: tuple[int, int]) -> ImageFeatures:
        """The teacher's features of each view."""
        return self.teacher.ask_features(self.teacher_batch(inputs, data_samples), grid)
