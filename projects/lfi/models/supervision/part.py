"""The base class of supervision parts, and what a student gives them."""

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

READS = ('locations', 'vector', 'scores', 'attention', 'concept_scores', 'presence')
"""What a part may read of a student. A part trains what it reads; what no part reads is frozen:

- 'locations', the patch tokens as a feature map;
- 'vector', the image's pooled vector, which the head gets;
- 'scores', the logits of the classes, of whatever predicts;
- 'attention', that of the asked queries over the patches;
- 'concept_scores', the read-out's comparison of patches and texts;
- 'presence', the read-out's presence of each asked concept.
"""


@dataclass(frozen=True)
class StudentWidths:
    """The widths of a student, by which parts build their heads.

    Args:
        tokens: C, of patch tokens and queries.
        vector: of the image's pooled vector.
        texts: returns E, the width of the teacher's text space, or raises a ValueError where nothing says it.
    """

    tokens: int
    vector: int
    texts: Callable[[], int]


@dataclass(frozen=True)
class StudentOutputs:
    """What a student made of a batch.

    Args:
        states: what the backbone recorded, with the answers to the part's questions.
        vector: (B, C), the pooled vector of each image. None where no part reads it.
        scores: (B, K), the logits of the classes. None where no part reads them.
        readout: reads the states. None where the student has none.
        texts: (C, E), the unit embeddings of the teacher's concepts. None without a teacher.
    """

    states: InteractionStates
    vector: Tensor | None = None
    scores: Tensor | None = None
    readout: InteractionReadout | None = None
    texts: Tensor | None = None


class SupervisionPart(nn.Module):
    """Base class of what a student learns from, beside its task.

    In a step `target_of` gives what the part learns towards, a control may change that, and a call compares
    the student's outputs with it.

    Attributes:
        needs: the fields of `Targets` that the part reads; none where it needs no teacher.
        reads: what the part reads of the student, of `READS`.
        compares_locations: whether its targets differ from location to location.
        averages: the names of the means that `with_means` takes; none where the part has no mean target.
    """

    needs: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    compares_locations: bool = False
    averages: tuple[str, ...] = ()

    loss_weight: float = 1.0

    @property
    def learns(self) -> bool:
        """Whether a loss of the part weighs more than 0."""
        return self.loss_weight > 0

    @property
    def differs_by_image(self) -> bool:
        """Whether its targets are what the teacher says of each image."""
        return bool(self.needs)

    readout_defaults: Mapping[str, Any] = MappingProxyType({})
    """Arguments of the student's read-out that the part knows better than the read-out's own defaults."""

    def build_heads(self, widths: StudentWidths) -> None:
        """Build what maps the student's features to the teacher's."""

    def check_teacher(self, teacher: Teacher) -> None:
        """Check that a teacher gives what the part reads, before training or before a cache is written.

        Raises:
            ValueError: if it does not; the message names the option and what to write.
        """

    def target_of(self, targets: Targets, view: BatchView, grid: StudentGrid) -> Any:
        """What the part learns towards, from the teacher's targets; None where it needs no teacher."""
        return None

    def check_target(self, target: Any) -> None:
        """Check the values of a target, once a run: a check waits for the device.

        Raises:
            ValueError: if a value is not finite, or out of its range.
        """

    def with_means(self, target: Any, means: Mapping[str, RunningMean], num_texts: int) -> Any:
        """A target whose image-specific part is replaced by its mean so far, this batch's counted.

        Args:
            target: as `target_of` gives it.
            means: for each name of `averages`.
            num_texts: of the teacher's bank.
        """
        raise NotImplementedError

    def questions(self, readout: InteractionReadout, texts: Tensor, target: Any) -> Tensor | None:
        """The initial queries that the part asks, (B, M, C) or (M, C); None where it asks nothing.

        Parts that need a teacher are asked for them, where the student has a read-out.
        """
        return None

    def forward(self, outputs: StudentOutputs, target: Any) -> dict[str, Tensor]:
        """The part's losses, weighted, by their names."""
        raise NotImplementedError


def check_teacher_dims(teacher_dims: int | None, teacher: Teacher) -> None:
    """Check that a stated width is that of the teacher's features.

    Raises:
        ValueError: if it is not.
    """
    found = teacher.texts.shape[1]
    if teacher_dims not in (None, found):
        raise ValueError(
            f'teacher_dims={teacher_dims}, but the features of the teacher have {found} values: set it to '
            'that, or leave it out'
        )


def vector_of(outputs: StudentOutputs, width: int) -> Tensor:
    """The pooled vector of each image, (B, C).

    Raises:
        ValueError: if it is not as wide as what maps it.
    """
    assert outputs.vector is not None
    if outputs.vector.shape[1] != width:
        raise ValueError(
            f'student_dims={width}, but the pooled vector of an image has {outputs.vector.shape[1]} values: '
            'set student_dims of the supervision part to that'
        )
    return outputs.vector


def updated_mean(values: Tensor, mean: RunningMean) -> Tensor:
    """The mean over all images so far, of the shape of one image's values, after adding values (B, ...)."""
    mean.add(values.sum(0), values.new_full((), len(values)))
    return mean.mean
