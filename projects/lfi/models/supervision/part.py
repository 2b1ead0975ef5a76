"""Base class of supervision parts, and the student's outputs that they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from lfi.models.backbones import InteractionStates
from lfi.models.losses.means import RunningMean
from lfi.models.readout import InteractionReadout
from lfi.models.teachers import Teacher
from lfi.structures import BatchView, StudentGrid, Targets

OUTPUT_NAMES = ('locations', 'vector', 'scores', 'attention', 'concept_scores', 'presence')
"""Outputs of a student that parts may read. Layers that serve only outputs that no part reads are frozen.

- 'locations', the patch tokens as a feature map;
- 'vector', the image's pooled vector, the input of the head;
- 'scores', the class logits by which the student predicts (option `predict_by` of the student);
- 'attention', the attention of the asked queries over the patches;
- 'concept_scores', the read-out's semantic scores of patches and texts;
- 'presence', the read-out's presence of each asked concept.
"""


@dataclass(frozen=True)
class StudentWidths:
    """Widths of a student's outputs, from which parts build their heads.

    Args:
        tokens: C, width of patch tokens and queries.
        vector: width of the image's pooled vector.
        texts: function that returns E, the width of the teacher's text space. It raises a ValueError if no
            option states the width.
        classes: number of classes of the task's head. Defaults to None: the task has no such head.
    """

    tokens: int
    vector: int
    texts: Callable[[], int]
    classes: int | None = None


@dataclass(frozen=True)
class StudentOutputs:
    """Outputs of a student for one batch.

    Of `OUTPUT_NAMES`, 'vector' and 'scores' are fields. Parts compute the others from `states`, `readout` and
    `texts`.

    Args:
        states: recorded patch tokens and asked queries of the supervised layers.
        vector: (B, D), pooled vector of each image. None if no part reads it.
        scores: (B, K), class logits. None if no part reads them.
        readout: read-out of the student. None if the student has none.
        texts: (N, E), unit embeddings of all texts of the teacher's bank. None without a teacher.
    """

    states: InteractionStates
    vector: Tensor | None = None
    scores: Tensor | None = None
    readout: InteractionReadout | None = None
    texts: Tensor | None = None


class SupervisionPart(nn.Module):
    """Base class of the losses that a student learns from beside its task.

    In a step `target_of` makes the part's target, a control may change the target, and `forward` compares the
    student's outputs with it.

    A module of the part that collects statistics of the teacher or the data has a method `reset_statistics`,
    which a new training calls before its first step. A checkpoint that it starts from may have those of
    another training.

    Attributes:
        teacher_outputs: fields of `Targets` that the part reads; empty if it needs no teacher.
        student_outputs: names in `OUTPUT_NAMES` that the part reads.
        target_varies_by_location: whether the target differs from location to location.
        mean_names: names of the running means that `with_means` needs; empty if the part has no mean target.
    """

    teacher_outputs: frozenset[str] = frozenset()
    student_outputs: frozenset[str] = frozenset()
    target_varies_by_location: bool = False
    mean_names: tuple[str, ...] = ()

    loss_weight: float = 1.0

    @property
    def learns(self) -> bool:
        """Whether a loss of the part has a weight above 0."""
        return self.loss_weight > 0

    @property
    def target_needs_teacher(self) -> bool:
        """Whether the target depends on the teacher's outputs for each image."""
        return bool(self.teacher_outputs)

    readout_defaults: Mapping[str, Any] = MappingProxyType({})
    """Default arguments of the student's read-out, in place of the read-out's own."""

    def build_heads(self, widths: StudentWidths) -> None:
        """Build the layers that map the student's features to the teacher's widths."""

    def check_head(self, head: nn.Module | None) -> None:
        """Check that a part can teach a classifier with a head, when the student is built.

        Args:
            head: head of the task's model. None if the model has none of this name.

        Raises:
            ValueError: if the part does not fit the head. The message names the part to use.
        """

    def check_teacher(self, teacher: Teacher) -> None:
        """Check that a teacher has the outputs that the part reads, before training or caching.

        Raises:
            ValueError: if the teacher lacks an output. The message names the option and the value to set.
        """

    def target_of(self, targets: Targets, batch: BatchView, grid: StudentGrid) -> Any:
        """Make the part's target from the teacher's targets; None if the part needs no teacher."""
        return None

    def check_target(self, target: Any) -> None:
        """Check a target's values. Only a run's first target is checked: the check waits for the device.

        Raises:
            ValueError: if a value is not finite or out of range.
        """

    def with_means(self, target: Any, means: Mapping[str, RunningMean], num_texts: int) -> Any:
        """Replace the image-specific part of a target by its running mean, this batch included.

        Args:
            target: result of `target_of`.
            means: running mean for each name of `mean_names`.
            num_texts: number of texts in the teacher's bank.
        """
        raise NotImplementedError

    def asked_queries(self, readout: InteractionReadout, texts: Tensor, target: Any) -> Tensor | None:
        """Initial queries of the texts that the part asks about, (B, M, C) or (M, C); None for no query.

        The student calls this method if it has a read-out and the part needs a teacher.
        """
        return None

    def forward(self, outputs: StudentOutputs, target: Any) -> dict[str, Tensor]:
        """Compute the part's weighted losses, by name."""
        raise NotImplementedError


def check_teacher_dims(teacher_dims: int | None, teacher: Teacher) -> None:
    """Check that `teacher_dims` is the width of the teacher's features.

    Raises:
        ValueError: if the widths differ.
    """
    width = teacher.text_embeddings.shape[1]
    if teacher_dims not in (None, width):
        raise ValueError(
            f'teacher_dims={teacher_dims}, but the features of the teacher have {width} values: set '
            f'teacher_dims={width}, or leave teacher_dims out'
        )


def vector_of(outputs: StudentOutputs, width: int) -> Tensor:
    """Return the pooled vector of each image, (B, D).

    Raises:
        ValueError: if D is not `width`, the input width of the part's layer.
    """
    assert outputs.vector is not None
    if outputs.vector.shape[1] != width:
        raise ValueError(
            f'student_dims={width}, but the pooled vector of an image has {outputs.vector.shape[1]} values: '
            f'set student_dims of the supervision part to {outputs.vector.shape[1]}'
        )
    return outputs.vector


def updated_mean(values: Tensor, mean: RunningMean) -> Tensor:
    """Add values (B, ...) of a batch to a running mean, and return the mean, (...)."""
    mean.add(values.sum(0), values.new_full((), len(values)))
    return mean.mean
