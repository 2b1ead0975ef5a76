"""A backbone that learns from interactions alone: images need no label, and there is no head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from lfi.models.batches import valid_sizes_of
from lfi.models.distill import InteractionDistillMixin
from lfi.models.other_images import AnotherImagesMapsMixin
from lfi.registry import MODELS
from lfi.structures import InteractionMaps

UNREAD = 'unread'


@MODELS.register_module()
class LFIPretrainer(InteractionDistillMixin, ImageClassifier):
    """Pretrains a backbone by a teacher's interactions with images that have no label.

    The losses are the interaction terms and the prior's. Concepts are whatever the teacher is asked about,
    and presence is the teacher's own; captions raise it where the pipeline reads them
    (`lfi.LoadCaptionConcepts`). Labels are never read, even where the data set has them.

    In mode 'tensor' it gives the backbone's features. In mode 'predict' each sample gets `features`, (C,)
    float, the last of them pooled over locations: `lfi.KNNMetric` and `lfi.LinearProbeMetric` measure these.
    Any model of OpenMMLab with such a backbone begins with the checkpoint by
    `init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`.

    Args:
        *args: of `InteractionDistillMixin` and `ImageClassifier`: the backbone.
        **kwargs: likewise.

    Raises:
        ValueError: if there is a neck or a head, which nothing would train; if there is nothing to learn; or
            as the mixin says.
    """

    learns_without_labels = True
    """Says to the tools that images without a label do no harm."""

    reads_labels = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ('neck', 'head'):
            if getattr(self, name) is not None:
                raise ValueError(
                    f'{name}={type(getattr(self, name)).__name__} would learn nothing without labels: set '
                    f'{name}=None, or take lfi.LFIImageClassifier'
                )
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
        losses = super().loss(inputs, data_samples, **kwargs)
        unread = losses.pop(UNREAD)
        first = next(iter(losses))
        return {**losses, first: losses[first] + unread}

    def task_loss(
        self, inputs: Tensor, data_samples: Sequence, maps: InteractionMaps, **kwargs: Any
    ) -> dict[str, Tensor]:
        """The prior's alone, for there is no task; and `UNREAD`, which is 0.

        It gives gradients of 0 to what no interaction reads, such as the norms of outputs: DDP wants one for
        each parameter.
        """
        with self.backbone.record_interactions() as record:
            features = self.extract_feat(inputs)
        unread = torch.cat([output[:0].flatten() for output in features]).sum()
        return {**self.prior_losses(record.states), UNREAD: unread}

    def predict(
        self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any
    ) -> Sequence[DataSample]:
        """The samples of the images (B, 3, H, W) with their `features`."""
        samples = [DataSample() for _ in inputs] if data_samples is None else data_samples
        with self.backbone.padded(valid_sizes_of(inputs, samples)):
            features = pooled(self.extract_feat(inputs)[-1])
        for sample, its in zip(samples, features):
            sample.features = its
        return samples


@MODELS.register_module()
class ShuffledImagesPretrainer(AnotherImagesMapsMixin, LFIPretrainer):
    """`LFIPretrainer` whose images get the teacher's maps of another image of the batch: a control."""


def pooled(features: Tensor) -> Tensor:
    """A backbone's features, (B, C) or feature maps (B, C, H, W), as one vector an image, (B, C).

    Raises:
        ValueError: for features of another kind.
    """
    if features.ndim not in (2, 4):
        raise ValueError(
            f'features of shape {tuple(features.shape)} are neither vectors (B, C) nor maps (B, C, H, W): '
            "set backbone.out_type='avg_featmap' or 'featmap'"
        )
    return features if features.ndim == 2 else features.mean((-2, -1))
