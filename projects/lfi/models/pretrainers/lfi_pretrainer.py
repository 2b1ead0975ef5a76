"""A backbone that learns from interactions alone: images need no label, and there is no head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from lfi.models.distill import InteractionDistillMixin
from lfi.models.other_images import AnotherImagesMapsMixin
from lfi.registry import MODELS
from lfi.structures import InteractionMaps

from .headless import UNREAD, HeadlessMixin, unread, with_unread


@MODELS.register_module()
class LFIPretrainer(InteractionDistillMixin, HeadlessMixin, ImageClassifier):
    """Pretrains a backbone by a teacher's interactions with images that have no label.

    The losses are the interaction terms and the prior's. Concepts are whatever the teacher is asked about,
    and presence is the teacher's own; captions raise it where the pipeline reads them
    (`lfi.LoadCaptionConcepts`). Labels are never read, even where the data set has them.

    `HeadlessMixin` says how to get features and how to begin with the checkpoint.

    Args:
        *args: of `InteractionDistillMixin` and `ImageClassifier`: the backbone.
        **kwargs: likewise.

    Raises:
        ValueError: if there is a neck or a head, which nothing would train; if there is nothing to learn; or
            as the mixin says.
    """

    # `InteractionDistillMixin`, the first base, says True.
    reads_labels = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        loss = self.interaction_loss
        learns = loss.positions_weight or loss.concepts_weight or loss.presence_weight
        if not learns and self.affinity_prior is None:
            raise ValueError(
                'there is nothing to learn where interaction_loss.positions_weight, concepts_weight and '
                'presence_weight are all 0: raise one of them, or set affinity_prior'
            )

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """No image has a label: zeros (B, C).

        Raises:
            ValueError: if presence is that of the labels alone, and an image has no captions either.
        """
        captioned = all('gt_concepts' in sample for sample in data_samples)
        if self.reading.presence == 'label' and not captioned:
            raise ValueError(
                "reading.presence='label' leaves no concept present where labels are not read: set it to "
                "'best-location' or 'image'"
            )
        tensors = (value for value in data_samples[0].values() if isinstance(value, Tensor))
        device = next(tensors, next(self.parameters())).device
        return torch.zeros(len(data_samples), num_concepts, device=device)

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """The interaction terms and the prior's."""
        return with_unread(super().loss(inputs, data_samples, **kwargs))

    def task_loss(
        self, inputs: Tensor, data_samples: Sequence, maps: InteractionMaps, **kwargs: Any
    ) -> dict[str, Tensor]:
        """The prior's alone, for there is no task; and `UNREAD`."""
        with self.backbone.record_interactions() as record:
            features = self.extract_feat(inputs)
        return {**self.prior_losses(record.states), UNREAD: unread(features)}


@MODELS.register_module()
class ShuffledImagesPretrainer(AnotherImagesMapsMixin, LFIPretrainer):
    """`LFIPretrainer` whose images get the teacher's maps of another image of the batch: a control."""
