"""The base class of task families, and which one a model is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lfi.structures import BatchView
from lfi.utils.modules import has_base

TASKS: list[type[Task]] = []
"""The task families that are known."""


class Task:
    """Base class of task families: an image's labels among the concepts, and how the task's own loss runs.

    A subclass that names a `base` is known from then on.
    """

    package: ClassVar[str] = ''
    """The import package of the project whose models these are."""
    base: ClassVar[str] = ''
    """The class of the project from which all models of the family inherit."""
    provides: ClassVar[frozenset[str]] = frozenset()
    """Which of 'vector' and 'scores' the task's model gives to parts."""
    reads_labels: ClassVar[bool] = True
    """Whether labels are read: then the concepts begin with the data set's classes, in its order."""
    predicts_by: ClassVar[str] = 'lfi.ByHead'
    """What predicts by default."""

    def __init_subclass__(cls) -> None:
        # What inherits from another family, and names no base, is not looked up.
        if 'base' in vars(cls):
            TASKS.append(cls)

    @classmethod
    def fits(cls, kind: type) -> bool:
        """Whether a model's class is of the family. The project is not imported for that."""
        return has_base(kind, cls.package, cls.base)

    def set_up(self, student: Any) -> None:
        """Prepare a student when it is built, as by hooks of its data preprocessor."""

    def check_training(self, student: Any) -> None:
        """Check that a student learns something, when training begins.

        Raises:
            ValueError: if it does not; the message names the option and what to write.
        """

    def num_classes(self, student: Any) -> int | None:
        """How many classes a student's head tells apart; None where that is not one number."""
        return None

    def labels(
        self, data_samples: Sequence, num_concepts: int, num_classes: int | None, device: torch.device
    ) -> Tensor:
        """The images' labels among the concepts, (B, num_concepts) in [0, 1]; the classes come first.

        Args:
            data_samples: of a batch; their tensors are on the device.
            num_concepts: of the teacher's bank, its background included.
            num_classes: as the method `num_classes` returns it.
            device: of the images.
        """
        raise NotImplementedError

    def loss(
        self,
        student: Any,
        own: Callable[..., dict[str, Any]],
        view: BatchView,
        data_samples: Sequence,
        wants_features: bool,
    ) -> tuple[dict[str, Any], Sequence[Tensor] | None]:
        """Run the student, whose task learns from the images that have a label.

        The backbone sees all images, in one pass. An image that is marked as unlabelled is no negative: the
        task never sees it. Where no image has a label the task's losses are exactly 0, with gradients of 0,
        as DDP wants them.

        Args:
            student: the student.
            own: the task model's loss, `own(inputs, data_samples)`.
            view: the batch.
            data_samples: of the batch.
            wants_features: whether a part reads the vector or the scores.

        Returns:
            The task's losses, and the features that its head takes, or None unless these are wanted.
        """
        raise NotImplementedError

    def vector(self, features: Sequence[Tensor]) -> Tensor:
        """The image's vector, (B, C), of the features that a head takes."""
        return features[-1]


def task_of(kind: type) -> type[Task] | None:
    """The family of a model's class, or None where none is known. The latest that fits counts."""
    return next((task for task in reversed(TASKS) if task.fits(kind)), None)


def labelled_loss(
    student: Any,
    own: Callable[..., dict[str, Any]],
    view: BatchView,
    data_samples: Sequence,
    blank: Callable[[Any], Any],
) -> dict[str, Any]:
    """A dense task's own loss, over the images that have a label.

    Args:
        student: the student.
        own: the task model's loss, which asks the student for features once.
        view: the batch.
        data_samples: of the batch.
        blank: makes a sample of an unlabelled image that the task's loss takes; it counts for nothing.
    """
    rows = view.labelled
    if rows is None:
        return own(view.inputs, data_samples)
    # The task wants one image at least; its losses then count for nothing.
    taken = list(rows) or [0]
    samples = [data_samples[row] for row in taken] if rows else [blank(data_samples[0])]
    with student.use_features(take_rows(student.extract_feat(view.inputs), taken)):
        losses = own(take_rows(view.inputs, taken), samples)
    return losses if rows else {name: _nothing(value) for name, value in losses.items()}


def take_rows(features: Any, rows: Sequence[int]) -> Any:
    """The rows of all tensors in (nested) sequences."""
    if isinstance(features, Tensor):
        index = torch.tensor(rows, dtype=torch.long)
        return features.index_select(0, index.to(features.device, non_blocking=True))
    return type(features)(take_rows(part, rows) for part in features)


def _nothing(value: Any) -> Any:
    return [_nothing(each) for each in value] if isinstance(value, list | tuple) else 0 * value
