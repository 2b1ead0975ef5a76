"""Backbones that learn from a teacher without labels and without a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from lfi.models.losses import LogitKDLoss
from lfi.registry import MODELS
from lfi.structures import InteractionMaps

from .another_image import AnotherImagesMapsMixin
from .distill import InteractionDistillMixin
from .feature_distill import FeatureDistillMixin

if TYPE_CHECKING:
    # Of what the mixin stands before.
    from mmpretrain.models.classifiers import ImageClassifier as _Classifier
else:
    _Classifier = object

# Among the losses: what `unread` gives.
UNREAD = 'unread'


class HeadlessMixin(_Classifier):
    """Makes an mmpretrain `ImageClassifier` a backbone alone; put it right before that among the bases.

    In mode 'tensor' it gives the backbone's features. In mode 'predict' each sample gets `features`, (C,)
    float, the last of them pooled over locations: `lfi.KNNMetric` and `lfi.LinearProbeMetric` measure these.
    Any model of OpenMMLab with such a backbone begins with the checkpoint by
    `init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`.

    Args:
        *args: of the classifier: the backbone.
        **kwargs: likewise.

    Raises:
        ValueError: if there is a neck or a head, which nothing would train.
    """

    learns_without_labels = True
    """Says to the tools that images without a label do no harm."""

    reads_labels = False
    """Says to the tools that labels are never read, even where the data set has them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ('neck', 'head'):
            if getattr(self, name) is not None:
                raise ValueError(
                    f'{name}={type(getattr(self, name)).__name__} would learn nothing without labels: set '
                    f'{name}=None, or take lfi.LFIImageClassifier'
                )

    def predict(
        self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any
    ) -> Sequence[DataSample]:
        """The samples of the images (B, 3, H, W) with their `features`."""
        samples = [DataSample() for _ in inputs] if data_samples is None else data_samples
        for sample, its in zip(samples, pooled(self.extract_feat(inputs)[-1])):
            sample.features = its
        return samples


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


def unread(features: Sequence[Tensor]) -> Tensor:
    """0, which gives gradients of 0 to what no loss reads, such as the norms of outputs.

    DDP wants one for each parameter.

    Args:
        features: the backbone's outputs.
    """
    return torch.cat([output[:0].flatten() for output in features]).sum()


def with_unread(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The losses, of which the first has `UNREAD` in it."""
    first, *others = (name for name in losses if name != UNREAD)
    return {first: losses[first] + losses[UNREAD], **{name: losses[name] for name in others}}


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
