"""Classifiers of mmpretrain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lfi.errors import UsageError
from lfi.models.losses.means import scale_to_joined_batch
from lfi.structures import BatchView, is_unlabelled, set_multi_hot_
from lfi.structures.labels import UNLABELLED

from .hooks import samples_of_training
from .task import Task, kept_statistics, take_rows

HEAD_TERM = 'loss_cls'
"""Name of the head's loss; MMEngine logs the sum of all terms as `loss`."""


class Classification(Task):
    """mmpretrain's `ImageClassifier` and its subclasses.

    If all images have labels, the loss is mmpretrain's. Only the head's term `loss` is renamed `loss_cls`,
    since MMEngine logs the sum of all terms as `loss`.
    """

    package, base = 'mmpretrain', 'ImageClassifier'
    provides = frozenset({'vector', 'scores'})

    def set_up(self, student: Any) -> None:
        """Add a check of the labels of training batches."""
        add_label_check(student.data_preprocessor)

    def num_classes(self, student: Any) -> int | None:
        """Return the number of classes of the head."""
        return getattr(student.head, 'num_classes', None)

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """Return labels (B, C), soft for mixed images; 0 for images without a label.

        Raises:
            UsageError: if samples have neither `gt_label` nor `gt_score`, as in multi-task models.
        """
        if 'gt_score' in data_samples[0]:
            labels = torch.stack([sample.gt_score for sample in data_samples]).float()
            return nn.functional.pad(labels, (0, num_concepts - labels.shape[1]))
        return set_multi_hot_(
            torch.zeros(len(data_samples), num_concepts, device=device), known_labels(data_samples, device)
        )

    def loss(
        self,
        student: Any,
        task_loss: Callable[..., dict[str, Any]],
        batch: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """Run the student; the head's losses are means over the labelled images of all processes.

        All processes must call this method, which reduces over them. Heads whose losses are sums are not
        supported.

        Raises:
            ValueError: if there is no head; if the head's loss is needed alone and the classifier overrides
                `loss`; or if one image has a label and the head has batch norms.
        """
        if student.head is None:
            raise ValueError(
                f'{type(student).__name__} has no head, and is for testing only: give model.head, or '
                'pretrain a backbone without a task, model.task=None'
            )
        rows = batch.labelled
        if rows is None and not wants_features:
            return _scale_and_rename(task_loss(batch.inputs, data_samples), len(data_samples)), None
        self._refuse_overridden_loss(task_loss)
        features = student.extract_feat(batch.inputs)
        losses = _head_losses(student.head, features, data_samples, rows)
        return _scale_and_rename(losses, len(data_samples if rows is None else rows)), features

    @staticmethod
    def _refuse_overridden_loss(task_loss: Any) -> None:
        # `task_loss` may be a `partial` with arguments of the step.
        method = getattr(task_loss, 'func', task_loss)
        function = getattr(method, '__func__', method)
        if not function.__module__.startswith('mmpretrain.'):
            raise ValueError(
                f'{function.__qualname__} overrides the loss of mmpretrain, and images without a label and '
                'lfi.LogitKD need the loss of the head alone: leave both out, or move the loss into the head'
            )


def _head_losses(
    head: Any, features: Sequence, data_samples: Sequence, rows: Sequence[int] | None
) -> dict[str, Tensor]:
    """Compute the losses of a head over the labelled rows.

    Raises:
        ValueError: if one image of the batch has a label and the head has batch norms.
    """
    if rows is None:
        all_losses: dict[str, Tensor] = head.loss(features, data_samples)
        return all_losses
    labelled_features = take_rows(features, rows)
    if not rows:
        # The sum over no row is 0, with gradients of 0.
        with kept_statistics([head]):
            return {'loss': head(labelled_features).sum()}
    norms = [part for part in head.modules() if isinstance(part, nn.BatchNorm1d)]
    if len(rows) == 1 and any(norm.training for norm in norms):
        raise ValueError(
            f'one image of the batch has a label, {_name(data_samples[rows[0]])}, and the BatchNorm1d of '
            'the head needs two: give each batch its share of labelled images, by '
            "train_dataloader.sampler=dict(type='lfi.LabelledShareSampler')"
        )
    losses: dict[str, Tensor] = head.loss(labelled_features, [data_samples[row] for row in rows])
    return losses


def _scale_and_rename(losses: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Scale a head's mean losses over `count` images for several processes, and rename `loss`."""
    if 'loss' in losses and HEAD_TERM in losses:
        raise ValueError(
            f"the head gives both 'loss' and {HEAD_TERM!r}, and 'loss' is the sum of all terms in the log: "
            'give its term another name'
        )
    # Keep the order of the terms: sums of floats depend on it.
    renamed = {HEAD_TERM if name == 'loss' else name: value for name, value in losses.items()}
    return scale_to_joined_batch(renamed, count)


def known_labels(data_samples: Sequence, device: torch.device) -> list[Tensor]:
    """Return the classes (n,) of each image; n = 0 for an image without a label.

    Raises:
        UsageError: if an image has no label, and no mark that says so.
    """
    none = torch.zeros(0, dtype=torch.long, device=device)
    missing = [sample for sample in data_samples if not is_unlabelled(sample) and 'gt_label' not in sample]
    if missing:
        raise UsageError(
            f'{_name(missing[0])} has no gt_label, and no mark that it is unlabelled: read images without '
            "labels by dict(type='lfi.ImageFolder', data_root=...)"
        )
    return [none if is_unlabelled(sample) else sample.gt_label for sample in data_samples]


def add_label_check(data_preprocessor: nn.Module) -> None:
    """Make a data preprocessor check the labels of training batches, while they are on the CPU.

    It raises a ValueError if an image has a label below 0 and no mark as unlabelled, or if the labels of
    unlabelled images would become scores (`to_onehot`, Mixup, CutMix).
    """
    data_preprocessor.register_forward_pre_hook(_LabelCheck(), with_kwargs=True)


def add_score_check(data_preprocessor: nn.Module) -> None:
    """Make a data preprocessor raise a ValueError if unknown labels would become scores."""
    data_preprocessor.register_forward_pre_hook(_check_scores, with_kwargs=True)


def _check_scores(data_preprocessor: nn.Module, arguments: tuple, kwargs: dict[str, Any]) -> None:
    samples = [sample for sample in samples_of_training(arguments, kwargs) if hasattr(sample, 'metainfo')]
    marked = [sample for sample in samples if is_unlabelled(sample)]
    if marked and _makes_scores(data_preprocessor, marked[0]):
        raise ValueError(
            f'{_name(marked[0])} has no label, but labels are made scores, as Mixup and CutMix need: remove '
            'to_onehot and batch_augments of data_preprocessor, and augments of model.train_cfg'
        )


class _LabelCheck:
    """Hook of `add_label_check`."""

    def __call__(self, data_preprocessor: nn.Module, arguments: tuple, kwargs: dict[str, Any]) -> None:
        _check_scores(data_preprocessor, arguments, kwargs)
        samples = [sample for sample in samples_of_training(arguments, kwargs) if hasattr(sample, 'metainfo')]
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
