"""Predictions that mix the class probabilities of the task's head with those of a second source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lfi.models.backbones import InteractionStates
from lfi.models.supervision import DualHead
from lfi.registry import MODELS
from lfi.utils.modules import is_multi_label
from lfi.utils.options import check_positive, is_number

from .components import build_subclass
from .predict_by import ByScores


@MODELS.register_module()
class ByDualHead(ByScores):
    """Predict the classes of images by the second head of `lfi.DualHead`.

    Raises:
        ValueError: when the student is built, if no supervision part is an `lfi.DualHead`.
    """

    def check(self, student: Any) -> None:
        """Check that the student has a second head."""
        super().check(student)
        _dual_head(student)

    def scores(self, student: Any, features: Sequence, states: InteractionStates) -> Tensor:
        """Compute the second head's logits, (B, K)."""
        return _dual_head(student).scores(student.family.vector(features))


def _dual_head(student: Any) -> DualHead:
    """Return the part with a second head.

    Raises:
        ValueError: if the student has none.
    """
    part = next((part for part in student.parts.values() if isinstance(part, DualHead)), None)
    if part is None:
        raise ValueError(
            'predict_by=ByDualHead needs a second head: add '
            "supervision.dual_head=dict(type='lfi.DualHead'), or set predict_by=None"
        )
    return part


@MODELS.register_module()
class ByMixture(ByScores):
    """Predict the classes of images by probabilities of the task's head and of a second source.

    The probabilities are `weight` * softmax(head) + (1 - `weight`) * softmax(second / `temperature`). (With
    `lfi.ByDualHead` as in DHO, Kang et al., arXiv 2505.07675.) Choose both numbers on validation images.

    Args:
        second: config of the second source, of type `lfi.ByTexts` or `lfi.ByDualHead`.
        weight: share of the head, in [0, 1]. Defaults to 0.5.
        temperature: divides the logits of the second source. Defaults to 1.

    Raises:
        ValueError: if an option is out of range, or the second source is none of these or names `concepts`;
            when the student is built, if there is no head of one label, or the second source does not fit.
    """

    def __init__(self, second: Mapping, weight: float = 0.5, temperature: float = 1.0) -> None:
        if not is_number(weight) or not 0 <= weight <= 1:
            raise ValueError(f'predict_by.weight={weight!r} must be a number between 0 and 1')
        check_positive(temperature=temperature)
        self.second: ByScores = build_subclass('predict_by.second', second, ByScores)
        if self.second.has_class_names:
            raise ValueError(
                'predict_by.second names concepts of its own, which are not the classes of the head: leave '
                'concepts out'
            )
        self.weight, self.temperature = weight, temperature
        self.needs_readout = self.second.needs_readout

    def check(self, student: Any) -> None:
        """Check that the student has a head of one label, and what the second source needs."""
        super().check(student)
        head = getattr(student, 'head', None)
        if head is None or is_multi_label(head):
            raise ValueError(
                'predict_by=ByMixture mixes softmaxes over classes, and the student has '
                f'head={None if head is None else type(head).__name__}: set predict_by=None'
            )
        self.second.check(student)

    def check_training(self, student: Any) -> None:
        """Check that losses train what the second source uses."""
        self.second.check_training(student)

    def asked_queries(self, student: Any) -> Tensor | None:
        """Make the queries of the second source, or None."""
        return self.second.asked_queries(student)

    def scores(self, student: Any, features: Sequence, states: InteractionStates) -> Tensor:
        """Compute the logarithms of the mixed probabilities, (B, K)."""
        head = student.head(features).float().softmax(-1)
        second = self.second.scores(student, features, states).float() / self.temperature
        mixed: Tensor = self.weight * head + (1 - self.weight) * second.softmax(-1)
        return mixed.clamp_min(1e-12).log()
