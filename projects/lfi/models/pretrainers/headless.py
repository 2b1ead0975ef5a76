"""What every pretrainer is: a classifier's backbone that no head follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

if TYPE_CHECKING:
    # Of what the mixin stands before.
    from mmpretrain.models.classifiers import ImageClassifier
else:
    ImageClassifier = object

# Among the losses: what `unread` gives.
UNREAD = 'unread'


class HeadlessMixin(ImageClassifier):
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
