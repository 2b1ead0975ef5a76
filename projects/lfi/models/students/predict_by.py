"""What a student predicts by: its task's own way, its texts, its features, or a head that is looked into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from lfi.models.backbones import InteractionStates
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import MODELS
from lfi.structures import InteractionMaps


class PredictBy:
    """Base class of what a student predicts by. It has no parameters."""

    reads_readout = False
    """Whether predictions need the read-out."""
    answers_by_readout = True
    """Whether what the student is asked is answered by the read-out."""
    names_classes: bool = False
    """Whether it names the classes itself, whatever the checkpoint was trained on."""

    def teacher_of(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The config of the teacher, asked about what is predicted."""
        return config

    def check(self, student: Any) -> None:
        """Check that the student can predict so, when it is built.

        Raises:
            ValueError: if it cannot; the message names the option and what to write.
        """

    def check_training(self, student: Any) -> None:
        """Check that what is learnt will predict, when training begins.

        Raises:
            ValueError: if it will not.
        """

    def predict(self, student: Any, inputs: Tensor, data_samples: Any, own: Callable) -> Sequence:
        """The samples with predictions; `own(inputs, data_samples)` is the task model's way."""
        found: Sequence = own(inputs, data_samples)
        return found

    def tensor(self, student: Any, inputs: Tensor, own: Callable) -> Any:
        """The outputs of mode 'tensor'; `own(inputs)` is the task model's way."""
        return own(inputs)

    def questions(self, student: Any) -> Tensor | None:
        """What the backbone is asked for `scores`, (K, C), or None where nothing is."""
        return None

    def scores(self, student: Any, features: Sequence, states: InteractionStates) -> Tensor:
        """The logits (B, K) of the classes, by the features that the head takes and the recorded states."""
        scores: Tensor = student.head(features)
        return scores

    def answers(
        self,
        student: Any,
        states: InteractionStates,
        texts: Tensor,
        like: InteractionMaps,
    ) -> InteractionMaps:
        """The answers of a forward pass that was asked about texts, (M, E)."""
        return student.require_readout().answers(states, texts, like)


@MODELS.register_module()
class ByHead(PredictBy):
    """Predicts in the task model's own way: the default of tasks."""

    def check(self, student: Any) -> None:
        """Refuse a backbone alone, which has no way of its own."""
        if student.family.predicts_by != 'lfi.ByHead':
            raise ValueError(
                f'predict_by=ByHead needs a task, and the student has none: set predict_by=None, which is '
                f'{student.family.predicts_by}'
            )


@MODELS.register_module()
class ByFeatures(PredictBy):
    """Gives each sample `features`, (C,), the last of the backbone's pooled over locations: without a task.

    `lfi.KNNMetric` and `lfi.LinearProbeMetric` measure them.
    """

    def predict(self, student: Any, inputs: Tensor, data_samples: Any, own: Callable) -> Sequence:
        """The samples of the images (B, 3, H, W) with their `features`."""
        from mmpretrain.structures import DataSample

        samples = [DataSample() for _ in inputs] if data_samples is None else data_samples
        for sample, its in zip(samples, pooled(student.extract_feat(inputs)[-1])):
            sample.features = its
        found: Sequence = samples
        return found


@MODELS.register_module()
class ByTexts(PredictBy):
    """Predicts a classifier's classes by their texts: the student is asked about each.

    A class's score is `InteractionReadout.scores` of the query that asks for it, and the softmax of the
    classes' scores is the prediction. The head takes no part in it, so that training without any label can be
    followed and tested. Where the model is only tested, the teacher's text tower embeds the texts once.

    Args:
        concepts: the classes in the test set's order, or a data set that names them
            (`dict(type='lfi.PACS')`): zero-shot classification. Defaults to None: the teacher's first
            `head.num_classes` concepts.
        templates: prompts of `concepts`, as the teacher's argument of this name. Defaults to None: the
            teacher's own.

    Raises:
        ValueError: for `templates` without `concepts`; without a read-out; and when training begins, where no
            part learns presence.
    """

    reads_readout = True

    def __init__(
        self, concepts: Sequence[str] | Mapping | None = None, templates: Sequence[str] | str | None = None
    ) -> None:
        if concepts is None and templates is not None:
            raise ValueError(
                f'predict_by.templates={templates!r} are prompts of predict_by.concepts: give these too'
            )
        self.concepts, self.templates = concepts, templates
        self.names_classes = concepts is not None
        self._texts: Tensor | None = None

    def named_classes(self, student: Any) -> tuple[str, ...]:
        """The names of `concepts`, which must be the test set's classes, in its order."""
        return TextTower(student.teacher_config).concepts

    def check(self, student: Any) -> None:
        """Check that classes of images are predicted, and that a teacher's text tower names them."""
        if 'vector' not in student.family.provides:
            raise ValueError(
                f'predict_by=ByTexts predicts classes of images, and {type(student).__name__} has another '
                'task: set predict_by=None'
            )
        if student.teacher_cfg is None:
            raise ValueError(
                'predict_by=ByTexts needs the text tower of model.teacher: give the teacher of the training'
            )
        if self.concepts is None and getattr(student, 'head', None) is None:
            raise ValueError(
                'predict_by=ByTexts asks about the first head.num_classes concepts, and there is no head: '
                "name the classes, predict_by.concepts=['cat', ...]"
            )

    def check_training(self, student: Any) -> None:
        """Check that some part learns presence, and that the teacher's concepts are those of the training.

        Raises:
            ValueError: if the scores would be random, or `concepts` would replace the teacher's.
        """
        if self.concepts is not None:
            raise ValueError(
                'predict_by.concepts names the classes of a test, and would replace those that the teacher '
                "is asked about: train with predict_by=None, or dict(type='lfi.ByTexts')"
            )
        if 'presence' not in student.learnt:
            raise ValueError(
                'predict_by=ByTexts predicts by presence, and no part learns it: set '
                'supervision.interactions.loss.presence_weight above 0, or predict_by=None'
            )

    def teacher_of(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The config of the teacher with these concepts and prompts: pictures show the same."""
        named = {'concepts': self.concepts, 'templates': self.templates}
        return {**config, **{name: value for name, value in named.items() if value is not None}}

    def class_texts(self, student: Any) -> Tensor:
        """The unit embeddings of the classes' texts, (K, E), on the student's device."""
        device = student.require_readout().text_centre.device
        if self.concepts is None and student.has_teacher:
            self._texts = student.teacher.texts[: student.head.num_classes]
        elif self._texts is None:
            self._texts = self._embedded(student)
        self._texts = self._texts.to(device)
        return self._texts

    def _embedded(self, student: Any) -> Tensor:
        tower = TextTower(student.teacher_config)
        if self.concepts is None:
            return tower.embed(tower.concepts[: student.head.num_classes])
        bank = tower.bank()
        student.require_readout().check_texts(bank.embeddings.shape[1])
        prompts, classes = ', '.join(bank.templates), ', '.join(bank.names)
        print_log(f'Zero-shot prompts: {prompts}; classes: {classes}', 'current')
        return bank.embeddings

    def predict(self, student: Any, inputs: Tensor, data_samples: Any, own: Callable) -> Sequence:
        """The samples, each with `pred_score` (K,) and `pred_label`."""
        from mmpretrain.models.heads import ClsHead

        found: Sequence = ClsHead().predict((self._scores_of(student, inputs),), data_samples)
        return found

    def tensor(self, student: Any, inputs: Tensor, own: Callable) -> Tensor:
        """The scores by text, (B, K)."""
        return self._scores_of(student, inputs)

    def _scores_of(self, student: Any, inputs: Tensor) -> Tensor:
        with student.backbone.record_interactions(self.questions(student)) as record:
            features = student.extract_feat(inputs)
        return self.scores(student, features, record.states)

    def questions(self, student: Any) -> Tensor:
        """What asks for each class, (K, C)."""
        return student.require_readout().questions(self.class_texts(student))

    def scores(self, student: Any, features: Sequence, states: InteractionStates) -> Tensor:
        """The classes' presence before the sigmoid, (B, K)."""
        return student.require_readout().scores(states, self.class_texts(student))


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
