"""Baselines' distillation, of a VLM's features and without interactions, as a mixin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from lfi.models.backbones import InteractionStates
from lfi.models.batches.samples import refuse_overhang, refuse_padding
from lfi.models.teachers import CachedFeatures, TeacherBatch, VLMAttentionTeacher, features_to_cache
from lfi.registry import MODELS
from lfi.structures import ImageFeatures, InteractionMaps

from .student import learn_locations
from .teacher_mixin import TeacherMixin


class FeatureDistillMixin(TeacherMixin):
    """Lets a model learn from a VLM's features or logits, not from its interactions.

    As for LFI the backbone is an `InteractionQueryViT`, and the teacher sees each view as the student does.

    Args:
        *args: of `TeacherMixin` and the task model.
        distill_loss: config of a loss of two `ImageFeatures`, whose class says by `by_location` whether it
            compares location by location.
        **kwargs: of `TeacherMixin` and the task model.

    Raises:
        TypeError: if the backbone records no interactions, or the loss does not say what it compares.
        ValueError: if images are mixed while their features come from a cache, and not as `record_mixtures`
            knows it.
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

    if TYPE_CHECKING:

        @property
        def teacher(self) -> VLMAttentionTeacher | CachedFeatures:
            """As `TeacherMixin.teacher`."""

    def maps_to_cache(self, batch: TeacherBatch, data_samples: Sequence) -> InteractionMaps:
        """As `TeacherMixin.maps_to_cache`: the teacher's features."""
        return features_to_cache(self.online_teacher, batch)

    def refuse_unaligned(self, inputs: Tensor, data_samples: Sequence) -> None:
        """Raise a ValueError for images whose features would be copied from padding or out of place."""
        refuse_padding(inputs, data_samples)
        if self.distill_loss.by_location:
            refuse_overhang(self.backbone, inputs)

    def distill_losses(
        self,
        inputs: Tensor,
        data_samples: Sequence,
        states: InteractionStates,
        pooled: Tensor,
        scores: Tensor,
    ) -> dict[str, Tensor]:
        """What a recorded forward pass learns of the teacher.

        Args:
            inputs: (B, 3, H, W), preprocessed.
            data_samples: of the images.
            states: what the backbone recorded.
            pooled: (B, C), the student's vector of each image.
            scores: (B, K), its logits of the classes, of which K = 0 without a head.
        """
        student = ImageFeatures(pooled, scores, states.locations())
        teacher = self._ask_teacher(inputs, data_samples, states.grid)
        teacher = replace(teacher, scores=teacher.scores[:, : scores.shape[1]])
        losses: dict[str, Tensor] = self.distill_loss(student, teacher)
        return losses

    def _ask_teacher(self, inputs: Tensor, data_samples: Sequence, grid: tuple[int, int]) -> ImageFeatures:
        """The teacher's features of each view."""
        return self.teacher.ask_features(self.teacher_batch(inputs, data_samples), grid)
