"""Images without a label: the task learns from the others alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lfi.models.losses.means import as_of_one_batch
from lfi.structures.labels import UNLABELLED

if TYPE_CHECKING:
    # Of what the mixins stand before.
    from mmdet.models.detectors import BaseDetector
    from mmpretrain.models.classifiers import ImageClassifier
else:
    BaseDetector = ImageClassifier = object

HEAD_TERM = 'loss_cls'
"""The name of a head's loss among the terms: the log's `loss` is the sum of all of them."""


def is_unlabelled(sample: Any) -> bool:
    """Whether a sample is marked as one without a label."""
    return bool(sample.metainfo.get(UNLABELLED, False))


def labelled_rows(data_samples: Sequence) -> list[int] | None:
    """The rows of a batch that have a label, or None where all have one."""
    rows = [row for row, sample in enumerate(data_samples) if not is_unlabelled(sample)]
    return None if len(rows) == len(data_samples) else rows


def known_labels(data_samples: Sequence) -> list[Tensor]:
    """The classes (n,) of each image: those of `gt_label`, or n = 0 where the image has no label."""
    return [sample.gt_label[:0] if is_unlabelled(sample) else sample.gt_label for sample in data_samples]


def samples_of_training(arguments: tuple, named: Mapping[str, Any]) -> Sequence:
    """The samples with which a data preprocessor is called in training, by a hook's view of it; else none."""
    training = named.get('training', arguments[1] if len(arguments) > 1 else False)
    data = arguments[0] if arguments else named.get('data')
    samples = data.get('data_samples') if isinstance(data, dict) else None
    return samples if training and isinstance(samples, Sequence) else ()


def check_labels(data_preprocessor: nn.Module) -> None:
    """Let a data preprocessor raise a ValueError for labels from which a head must not learn.

    Batches of training are checked, while they are on the CPU: a label below 0 that no mark accompanies,
    and images without a label whose labels would be made scores (`to_onehot`, Mixup, CutMix).
    """
    data_preprocessor.register_forward_pre_hook(_LabelCheck(), with_kwargs=True)


class _LabelCheck:
    """The check of `check_labels`."""

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        samples = [sample for sample in samples_of_training(arguments, named) if hasattr(sample, 'metainfo')]
        marked = [sample for sample in samples if is_unlabelled(sample)]
        if marked and _makes_scores(data_preprocessor, marked[0]):
            raise ValueError(
                f'{_name(marked[0])} has no label, but labels are made scores, as Mixup and CutMix need: '
                'remove to_onehot and batch_augments of data_preprocessor, and augments of model.train_cfg'
            )
        labelled = [sample for sample in samples if 'gt_label' in sample and not is_unlabelled(sample)]
        labels = [sample.gt_label for sample in labelled if sample.gt_label.device.type == 'cpu']
        if labels and torch.cat(labels).lt(0).any():
            wrong = next(sample for sample in labelled if sample.gt_label.lt(0).any())
            raise ValueError(
                f'{_name(wrong)} has the label {wrong.gt_label.tolist()}, and no mark that it is unlabelled: '
                "wrap its data set by dict(type='lfi.FewLabels', labels_per_class=0, dataset=...), or set "
                f'{UNLABELLED}=True in its data info and add {UNLABELLED!r} to the meta_keys of PackInputs'
            )


def _makes_scores(data_preprocessor: nn.Module, sample: Any) -> bool:
    options = ('to_onehot', 'batch_augments')
    return 'gt_score' in sample or any(getattr(data_preprocessor, name, None) for name in options)


def _name(sample: Any) -> str:
    return str(getattr(sample, 'img_path', 'an image'))


class LabelledHeadMixin(ImageClassifier):
    """Lets the head of an mmpretrain `ImageClassifier` learn from the labelled images of a batch alone.

    Put it before the classifier among the bases. The backbone sees all images, in one pass. A batch in which
    none has a label has a loss of exactly 0, with gradients of 0 for the head. Without images that are marked
    as unlabelled all is as in mmpretrain, but for a name: the head's `loss` is `loss_cls` here. MMEngine logs
    the sum of all terms as `loss`, and a term of that name would take its place.

    Args:
        *args: of the classifier.
        **kwargs: of the classifier.

    Raises:
        ValueError: in training, as `check_labels` says.
    """

    learns_without_labels = True
    """Says to the tools that images without a label do no harm."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_labels(self.data_preprocessor)

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """The classifier's losses of a batch (B, 3, H, W), where some have no label the head's."""
        if labelled_rows(data_samples) is None:
            return _of_head(super().loss(inputs, data_samples), len(data_samples))
        return self.head_loss(self.extract_feat(inputs), data_samples)

    def head_loss(self, features: Sequence, data_samples: Sequence) -> dict[str, Tensor]:
        """The head's losses, as means over the labelled images, those of all processes.

        So all processes must call it, and as often. A head whose losses are sums is no such mean.

        Args:
            features: of all images, (B, ...) each, as the head takes them.
            data_samples: of all images.

        Raises:
            ValueError: if the classifier has a `loss` of its own, which is more than its head's.
        """
        self._refuse_own_loss()
        rows = labelled_rows(data_samples)
        losses = self._loss_of_rows(features, data_samples, rows)
        return _of_head(losses, len(data_samples if rows is None else rows))

    def _loss_of_rows(
        self, features: Sequence, data_samples: Sequence, rows: list[int] | None
    ) -> dict[str, Tensor]:
        if rows is None:
            return self.head.loss(features, data_samples)
        taken = take_rows(features, rows)
        if not rows:
            # Of no row: 0, whatever the features are.
            return {'loss': self.head(taken).sum()}
        norms = [part for part in self.head.modules() if isinstance(part, nn.BatchNorm1d)]
        if len(rows) == 1 and any(norm.training for norm in norms):
            raise ValueError(
                f'one image of the batch has a label, {_name(data_samples[rows[0]])}, and the BatchNorm1d of '
                'the head needs two: give each batch its share of labelled images, by '
                "train_dataloader.sampler=dict(type='lfi.LabelledShareSampler')"
            )
        return self.head.loss(taken, [data_samples[row] for row in rows])

    def _refuse_own_loss(self) -> None:
        kinds = type(self).__mro__
        after = kinds[kinds.index(LabelledHeadMixin) + 1 :]
        kind = next(kind for kind in after if 'loss' in vars(kind))
        if not kind.__module__.startswith('mmpretrain.'):
            raise ValueError(
                f'{kind.__name__} has a loss of its own, and images without a label, and logit_kd, need that '
                'of the head alone: leave them out, or move the loss into the head'
            )


def _of_head(losses: Mapping[str, Any], count: int) -> dict[str, Any]:
    """A head's losses, means over `count` images, as those of one batch, with `loss` named `loss_cls`."""
    if 'loss' in losses and HEAD_TERM in losses:
        raise ValueError(
            f"the head gives both 'loss' and {HEAD_TERM!r}, and 'loss' is the sum of all terms in the log: "
            'give its term another name'
        )
    # In their order, in which they are added.
    renamed = {HEAD_TERM if name == 'loss' else name: value for name, value in losses.items()}
    return as_of_one_batch(renamed, count)


def take_rows(features: Any, rows: list[int]) -> Any:
    """The rows of all tensors in (nested) sequences."""
    if isinstance(features, Tensor):
        index = torch.tensor(rows, dtype=torch.long)
        return features.index_select(0, index.to(features.device, non_blocking=True))
    return type(features)(take_rows(part, rows) for part in features)


class LabelledTaskMixin(BaseDetector):
    """Lets a task learn from the images of a batch that have a label; put it before the task's model.

    The backbone sees all images, in one pass. An image that is marked as unlabelled (`lfi.ImageFolder`) is no
    negative: the task never sees it. One without instances and without the mark stays a negative. Where no
    image has a label the task's losses are exactly 0, with gradients of 0, as DDP wants them.
    """

    learns_without_labels = True
    """Says to the tools that images without a label do no harm."""

    _features: Any = None

    def extract_feat(self, batch_inputs: Tensor) -> Any:
        """The task's features; those of the labelled images while it learns from them."""
        return super().extract_feat(batch_inputs) if self._features is None else self._features

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Any]:
        """The task's losses of a batch (B, 3, H, W), over the labelled images."""
        rows = labelled_rows(data_samples)
        if rows is None:
            return super().loss(inputs, data_samples, **kwargs)
        # The task wants one image at least; its losses then count for nothing.
        taken = rows or [0]
        samples = [data_samples[row] for row in taken] if rows else [self.blank(data_samples[0])]
        self._features = take_rows(self.extract_feat(inputs), taken)
        try:
            losses = super().loss(take_rows(inputs, taken), samples, **kwargs)
        finally:
            self._features = None
        return losses if rows else {name: _nothing(value) for name, value in losses.items()}

    def blank(self, sample: Any) -> Any:
        """A sample of an unlabelled image that the task's loss takes; it counts for nothing."""
        return sample


def _nothing(value: Any) -> Any:
    return [_nothing(each) for each in value] if isinstance(value, list | tuple) else 0 * value
