"""Baseline: copy the teacher's class probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lfi.models.losses.log_probabilities import kl
from lfi.models.losses.means import RunningMean
from lfi.models.teachers import Teacher
from lfi.registry import MODELS
from lfi.structures import BatchView, StudentGrid, Targets
from lfi.utils.modules import is_multi_label
from lfi.utils.options import check_positive, check_weights

from .part import StudentOutputs, SupervisionPart, updated_mean


class ClassProbabilityKD(SupervisionPart):
    """Base class of losses between the class probabilities of teacher and student.

    (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2.) The teacher's logits are
    its zero-shot logits, or the logarithm of presence if another part needs maps.

    Args:
        temperature: T, divides the logits of both models. Defaults to 2.
        loss_weight: weight of the loss, 0 or more. Defaults to 1.

    Raises:
        ValueError: if an option is out of range; when the student is built, if the head is a multi-label one.
    """

    teacher_outputs = frozenset({'class_scores'})
    mean_names = ('probabilities',)

    def __init__(self, temperature: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def check_head(self, head: nn.Module | None) -> None:
        """Refuse a multi-label head, whose classes are not the outcomes of one softmax.

        Raises:
            ValueError: if the head is an mmpretrain `MultiLabelClsHead`.
        """
        if is_multi_label(head):
            raise ValueError(
                f'lfi.{type(self).__name__} compares softmaxes over classes that exclude one another, and '
                f'head={type(head).__name__} scores each class alone: drop the part, and take '
                'lfi.Interactions, which teaches the presence of each concept'
            )

    def check_teacher(self, teacher: Teacher) -> None:
        """Check that the teacher has a probability for each class.

        Raises:
            ValueError: if the teacher scores concept by concept, and is not asked about all concepts.
        """
        presence_kind, max_concepts = teacher.presence_kind or '', teacher.max_concepts
        if (
            presence_kind.endswith('concept by concept')
            and max_concepts is not None
            and max_concepts < teacher.bank.num_concepts
        ):
            raise ValueError(
                f'lfi.{type(self).__name__} copies the probability of each class, and the teacher gives none '
                f'for concepts that it is not asked about ({presence_kind}): set teacher.max_concepts=None, '
                'or drop the part'
            )

    def target_of(self, targets: Targets, batch: BatchView, grid: StudentGrid) -> Tensor:
        """Return the teacher's class logits, (B, K)."""
        assert targets.class_scores is not None
        return targets.class_scores

    def with_means(self, target: Tensor, means: Mapping[str, RunningMean], num_texts: int) -> Tensor:
        """Replace the logits by those of the mean probabilities over all images so far."""
        probabilities = (target.float() / self.temperature).softmax(-1)
        mean = updated_mean(probabilities, means['probabilities'])
        return self.temperature * mean.clamp_min(1e-12).log().expand_as(target)

    def divergence(self, scores: Tensor, target: Tensor) -> Tensor:
        """Compute the KL divergence from the teacher's to the student's probabilities at the temperature.

        Args:
            scores: (B, K), the student's class logits.
            target: (B, C), the teacher's, those of the K classes first.

        Returns:
            The mean over the batch, weighted and multiplied by the squared temperature, as in the paper.
        """
        logits = (scores, target[:, : scores.shape[1]])
        log_student, log_teacher = ((x.float() / self.temperature).log_softmax(-1) for x in logits)
        divergence: Tensor = kl(log_student, log_teacher, dim=-1).mean()
        return self.loss_weight * self.temperature**2 * divergence


@MODELS.register_module()
class LogitKD(ClassProbabilityKD):
    """KL divergence from the teacher's class probabilities to those by which the student predicts.

    `predict_by` computes the student's logits, from the head or from texts. The head runs once for the task's
    loss and once for this loss: dropout draws twice, and batch norms of the head count a batch twice.

    Args and errors: see `ClassProbabilityKD`.
    """

    student_outputs = frozenset({'scores'})

    def forward(self, outputs: StudentOutputs, target: Tensor) -> dict[str, Tensor]:
        """Compute `loss_logits`, the weighted mean over the batch."""
        assert outputs.scores is not None
        return {'loss_logits': self.divergence(outputs.scores, target)}
