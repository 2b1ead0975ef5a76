"""Base class of task families, and the lookup of a model's family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lfi.structures import BatchView
from lfi.utils.modules import has_base

TASKS: list[type[Task]] = []
"""Registered task families."""
# Lists of mmdet's Dynamic R-CNN, from which it sets its thresholds.
HISTORIES = ('iou_history', 'beta_history')


class Task:
    """Base class of task families: labels of images among the concepts, and the task's own loss.

    A subclass that sets `base` is registered.
    """

    package: ClassVar[str] = ''
    """Python package of the project."""
    base: ClassVar[str] = ''
    """Name of the project's class from which all models of the family inherit."""
    provides: ClassVar[frozenset[str]] = frozenset()
    """Outputs that the task's model gives to parts: 'vector', 'scores', both or none."""
    reads_labels: ClassVar[bool] = True
    """Whether training reads labels. If so, concepts start with the data set's classes, in their order."""
    default_predict_by: ClassVar[str] = 'lfi.ByHead'
    """Type of the default `predict_by`."""

    def __init_subclass__(cls) -> None:
        # Subclasses of a family that set no `base` of their own are helpers.
        if 'base' in vars(cls):
            TASKS.append(cls)

    @classmethod
    def fits(cls, kind: type) -> bool:
        """Whether a model's class belongs to the family; the project is not imported."""
        return has_base(kind, cls.package, cls.base)

    def set_up(self, student: Any) -> None:
        """Prepare a student when it is built, for instance by hooks of its data preprocessor."""

    def check_training(self, student: Any) -> None:
        """Check that a student learns something, when training begins.

        Raises:
            ValueError: if the student learns nothing. The message names the option and the value to set.
        """

    def num_classes(self, student: Any) -> int | None:
        """Return the number of classes of a student's head; None if the task has no single number."""
        return None

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """Return the concepts that each image is labelled with, (B, num_concepts) in [0, 1].

        The classes of the task are the first concepts.

        Args:
            data_samples: samples of a batch, with tensors on the device.
            num_concepts: number of texts in the teacher's bank, background included.
            num_classes: result of the method `num_classes`.
            device: device of the images.
        """
        raise NotImplementedError

    def loss(
        self,
        student: Any,
        task_loss: Callable[..., dict[str, Any]],
        batch: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """Run the student on all images, and compute the task's loss on those that have a label.

        The backbone runs once. The task never sees an image that is marked as unlabelled, so such an image is
        no negative. If no image has a label, the task's losses are exactly 0 with gradients of 0, since DDP
        needs all gradients; some heads, such as mmdet's CondInst, leave parameters without a gradient.
        Buffers of the task's heads and losses stay as they were.

        Args:
            student: the student.
            task_loss: loss of the task's model, `task_loss(inputs, data_samples)`.
            batch: the student's inputs, with their labelled rows.
            data_samples: samples of the batch.
            wants_features: whether a part reads the vector or the scores.

        Returns:
            The task's losses; and the input features of the head if they are wanted, else None.
        """
        raise NotImplementedError

    def vector(self, features: Sequence[Tensor]) -> Tensor:
        """Return the pooled vectors (B, C) from the input features of a head."""
        return features[-1]


def task_of(kind: type) -> type[Task] | None:
    """Return the family of a model's class, the latest registered one that fits, or None."""
    return next((task for task in reversed(TASKS) if task.fits(kind)), None)


def labelled_loss(
    student: Any,
    task_loss: Callable[..., dict[str, Any]],
    batch: BatchView,
    data_samples: Sequence,
    blank: Callable[[Any], Any],
) -> dict[str, Any]:
    """Compute the loss of a dense task over the images that have a label.

    Args:
        student: the student.
        task_loss: loss of the task's model, which calls `extract_feat` once.
        batch: the student's inputs, with their labelled rows.
        data_samples: samples of the batch.
        blank: function that turns an unlabelled sample into one for the loss, if no image has a label.

    Raises:
        ValueError: if some images have no label, and the features do not have one row for each image, such
            as those of mmdet's TridentNet.
    """
    rows = batch.labelled
    if rows is None:
        return task_loss(batch.inputs, data_samples)
    # The task's loss needs an image. If none has a label, the losses are multiplied by 0.
    used_rows = list(rows) or [0]
    samples = [data_samples[row] for row in used_rows] if rows else [blank(data_samples[0])]
    features = student.extract_feat(batch.inputs)
    _check_rows(features, len(batch.inputs), type(student.backbone).__name__)
    with student.use_features(take_rows(features, used_rows)):
        if rows:
            return task_loss(take_rows(batch.inputs, used_rows), samples)
        parts = student.named_children()
        with kept_statistics(part for name, part in parts if name not in ('backbone', 'neck')):
            losses = task_loss(take_rows(batch.inputs, used_rows), samples)
    return {name: _zeroed(value) for name, value in losses.items()}


@contextmanager
def kept_statistics(parts: Iterable[nn.Module]) -> Iterator[None]:
    """Context in which heads and losses of the task change copies of their statistics.

    mmdet's GHM, EQLv2 and seesaw losses and batch norms keep buffers, and Dynamic R-CNN keeps lists.
    """
    kept = []
    for module in (module for part in parts for module in part.modules()):
        buffers = dict(module.named_buffers(recurse=False))
        lists = {name: vars(module)[name] for name in HISTORIES if name in vars(module)}
        kept.append((module, buffers, lists))
        # Copies, since DDP holds the buffers themselves, and the graph of the loss may hold what it changes.
        module._buffers.update({name: buffer.clone() for name, buffer in buffers.items()})
        # Empty lists are too short for an update of the thresholds.
        vars(module).update({name: [] for name in lists})
    try:
        yield
    finally:
        # A module of two parts was copied twice.
        for module, buffers, lists in reversed(kept):
            module._buffers.update(buffers)
            vars(module).update(lists)


def take_rows(features: Any, rows: Sequence[int]) -> Any:
    """Select rows of all tensors in (nested) sequences."""
    if isinstance(features, Tensor):
        index = torch.tensor(rows, dtype=torch.long)
        return features.index_select(0, index.to(features.device, non_blocking=True))
    return type(features)(take_rows(part, rows) for part in features)


def _check_rows(features: Any, batch_size: int, backbone: str) -> None:
    """Raise a ValueError if a feature does not have one row for each image."""
    if not isinstance(features, Tensor):
        for part in features:
            _check_rows(part, batch_size, backbone)
    elif len(features) != batch_size:
        raise ValueError(
            f'{backbone} gives features of {len(features)} rows for {batch_size} images, so that images '
            'without a label cannot be left out: take another backbone, or give all training images labels'
        )


def _zeroed(value: Any) -> Any:
    return [_zeroed(item) for item in value] if isinstance(value, list | tuple) else 0 * value
