"""Ways to predict: the task's head, texts, or features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from lfi.models.backbones import InteractionStates
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import MODELS
from lfi.structures import InteractionMaps
from lfi.utils.modules import is_multi_label


class PredictBy:
    """Base class of the ways to predict. It has no parameters."""

    needs_readout = False
    """Whether predictions need the read-out."""
    answers_by_readout = True
    """Whether `answers` uses the read-out. `ByClassActivation` does not."""
    predicts_labels = True
    """Whether predictions are labels of the training's classes. Those of `ByFeatures` are not."""
    has_class_names: bool = False
    """Whether the class names come from the options of this object, and not from the checkpoint."""

    def teacher_cfg_for(self, teacher_cfg: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the teacher's config, with its concepts replaced by those to predict."""
        return teacher_cfg

    def check(self, student: Any) -> None:
        """Check a student when it is built.

        Raises:
            ValueError: if the student cannot predict in this way. The message names the option and the value
                to set.
        """

    def check_training(self, student: Any) -> None:
        """Check, when training begins, that losses train all that the prediction uses.

        Raises:
            ValueError: if no loss trains a module that the prediction uses.
        """

    def predict(self, student: Any, inputs: Tensor, data_samples: Any, task_predict: Callable) -> Sequence:
        """Return predicted samples. `task_predict(inputs, data_samples)` is the task model's method."""
        predictions: Sequence = task_predict(inputs, data_samples)
        return predictions

    def tensor(self, student: Any, inputs: Tensor, task_tensor: Callable) -> Any:
        """Return the outputs of mode 'tensor'. `task_tensor(inputs)` is the task model's method."""
        return task_tensor(inputs)

    def asked_queries(self, student: Any) -> Tensor | None:
        """Make the queries (K, C) whose states `scores` needs, or None."""
        return None

    def scores(self, student: Any, features: Sequence, states: InteractionStates) -> Tensor:
        """Compute class logits (B, K) from the head's input features and the recorded states."""
        scores: Tensor = student.head(features)
        return scores

    def answers(
        self,
        student: Any,
        states: InteractionStates,
        texts: Tensor,
        layout: InteractionMaps,
    ) -> InteractionMaps:
        """Compute the answers from a forward pass that has run with the texts' queries.

        Args:
            student: the student.
            states: recorded states of the forward pass.
            texts: (M, E), unit embeddings.
            layout: maps with the concepts, grid and valid locations of the answers. Its scores are not read.
        """
        return student.require_readout().answers(states, texts, layout)


@MODELS.register_module()
class ByHead(PredictBy):
    """Predict as the task's model does: the default of tasks."""

    def check(self, student: Any) -> None:
        """Refuse a student without a task."""
        if student.family.default_predict_by != 'lfi.ByHead':
            raise ValueError(
                'predict_by=ByHead needs a task, and the student has none: set predict_by=None, that is '
                f'{student.family.default_predict_by}'
            )


@MODELS.register_module()
class ByFeatures(PredictBy):
    """Add `features` (C,) to each sample: the backbone's last features pooled over locations.

    The default without a task. `lfi.KNNMetric` and `lfi.LinearProbeMetric` measure the features.
    """

    predicts_labels = False

    def predict(self, student: Any, inputs: Tensor, data_samples: Any, task_predict: Callable) -> Sequence:
        """Return the samples of images (B, 3, H, W) with `features`."""
        from mmpretrain.structures import DataSample

        samples = [DataSample() for _ in inputs] if data_samples is None else data_samples
        for sample, features in zip(samples, pool(student.extract_feat(inputs)[-1])):
            sample.features = features
        predictions: Sequence = samples
        return predictions


class ByScores(PredictBy):
    """Base class of predictions of images' classes by `scores`, in place of the head's logits.

    If the head is an mmpretrain `MultiLabelClsHead`, the prediction is the sigmoid of each score, with the
    labels of the head's `thr` or `topk`; else it is the softmax of the scores.
    """

    def check(self, student: Any) -> None:
        """Check that the task predicts classes of images."""
        if 'vector' not in student.family.provides:
            raise ValueError(
                f'predict_by={type(self).__name__} predicts classes of images, and {type(student).__name__} '
                'has another task: set predict_by=None'
            )

    def predict(self, student: Any, inputs: Tensor, data_samples: Any, task_predict: Callable) -> Sequence:
        """Return the samples with `pred_score` (K,) and `pred_label`."""
        from mmpretrain.models.heads import ClsHead, MultiLabelClsHead

        head: Any = getattr(student, 'head', None)
        rule = MultiLabelClsHead(thr=head.thr, topk=head.topk) if is_multi_label(head) else ClsHead()
        predictions: Sequence = rule.predict((self._compute_logits(student, inputs),), data_samples)
        return predictions

    def tensor(self, student: Any, inputs: Tensor, task_tensor: Callable) -> Tensor:
        """Return the class logits, (B, K)."""
        return self._compute_logits(student, inputs)

    def _compute_logits(self, student: Any, inputs: Tensor) -> Tensor:
        with student.backbone.record_interactions(self.asked_queries(student)) as record:
            features = student.extract_feat(inputs)
        return self.scores(student, features, record.states)


@MODELS.register_module()
class ByTexts(ByScores):
    """Predict the classes of images by their texts: the student is asked about each class.

    The scores are `InteractionReadout.presence_logits` of the classes. The head's weights are not used, so
    training without labels can be validated. In a test the teacher's text tower embeds the texts once.

    Args:
        concepts: classes in the test set's order, or a data set that names them
            (`dict(type='lfi.PACS')`), for zero-shot classification. Defaults to None: the teacher's first
            `head.num_classes` concepts.
        templates: prompts of `concepts`, like the teacher's argument of this name. Defaults to None: the
            teacher's prompts.

    Raises:
        ValueError: if `templates` are given without `concepts`; when the student is built, if task or teacher
            does not fit; and when training begins, if no part trains presence.
    """

    needs_readout = True

    def __init__(
        self, concepts: Sequence[str] | Mapping | None = None, templates: Sequence[str] | str | None = None
    ) -> None:
        if concepts is None and templates is not None:
            raise ValueError(
                f'predict_by.templates={templates!r} are prompts of predict_by.concepts: set '
                'predict_by.concepts too'
            )
        self.concepts, self.templates = concepts, templates
        self.has_class_names = concepts is not None
        self._texts: Tensor | None = None

    def class_names_of(self, student: Any) -> tuple[str, ...]:
        """Return the names of `concepts`. They must be the test set's classes in the same order."""
        return TextTower(student.require_teacher_cfg()).concepts

    def check(self, student: Any) -> None:
        """Check that the task predicts classes of images, and that a teacher embeds their texts."""
        super().check(student)
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
        """Check that a part trains presence, and that `concepts` do not replace the teacher's.

        Raises:
            ValueError: if the scores would be random, or `concepts` are given.
        """
        if self.concepts is not None:
            raise ValueError(
                'predict_by.concepts names the classes of a test, and would replace the concepts that the '
                "teacher is asked about: train with predict_by=None, or dict(type='lfi.ByTexts')"
            )
        if 'presence' not in student.trained_outputs:
            raise ValueError(
                'predict_by=ByTexts predicts by presence, and no part learns presence: set '
                'supervision.interactions.loss.presence_weight above 0, or predict_by=None'
            )

    def teacher_cfg_for(self, teacher_cfg: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the teacher's config with `concepts` and `templates`, so that maps are drawn for them."""
        options = {'concepts': self.concepts, 'templates': self.templates}
        return {**teacher_cfg, **{name: value for name, value in options.items() if value is not None}}

    def class_texts(self, student: Any) -> Tensor:
        """Return the unit embeddings of the classes' texts, (K, E), on the student's device."""
        device = student.require_readout().text_centre.device
        if self.concepts is None and student.teacher_is_built:
            self._texts = student.teacher.text_embeddings[: student.head.num_classes]
        elif self._texts is None:
            self._texts = self._embed_class_texts(student)
        self._texts = self._texts.to(device)
        return self._texts

    def _embed_class_texts(self, student: Any) -> Tensor:
        tower = TextTower(student.require_teacher_cfg())
        if self.concepts is None:
            return tower.embed(tower.concepts[: student.head.num_classes])
        bank = tower.bank()
        student.require_readout().check_texts(bank.embeddings.shape[1])
        prompts, classes = ', '.join(bank.templates), ', '.join(bank.names)
        print_log(f'Zero-shot prompts: {prompts}; classes: {classes}', 'current')
        return bank.embeddings

    def asked_queries(self, student: Any) -> Tensor:
        """Make the queries of the classes, (K, C)."""
        return student.require_readout().asked_queries(self.class_texts(student))

    def scores(self, student: Any, features: Sequence, states: InteractionStates) -> Tensor:
        """Compute presence logits of the classes, (B, K)."""
        return student.require_readout().presence_logits(states, self.class_texts(student))


def pool(features: Tensor) -> Tensor:
    """Pool features (B, C) or (B, C, H, W) to one vector per image, (B, C).

    Raises:
        ValueError: for features of another shape.
    """
    if features.ndim not in (2, 4):
        raise ValueError(
            f'features of shape {tuple(features.shape)} are neither vectors (B, C) nor maps (B, C, H, W): '
            "set backbone.out_type='avg_featmap' or 'featmap'"
        )
    return features if features.ndim == 2 else features.mean((-2, -1))
