"""Predictions by the texts of the classes, in place of the head; they may be named when it is tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from mmpretrain.models.heads import ClsHead
from torch import Tensor

from lfi.models.backbones import InteractionStates
from lfi.models.batches.samples import valid_sizes_of
from lfi.models.teachers import CachedOutputs, VLMAttentionTeacher
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import MODELS

from .controls import MeanTargetClassifier, ShuffledImagesClassifier
from .lfi_image_classifier import LFIImageClassifier

if TYPE_CHECKING:
    # Of what the mixin stands before.
    _Classifier = LFIImageClassifier
else:
    _Classifier = object


class TextPredictMixin(_Classifier):
    """Lets an `LFIImageClassifier` predict by asking for each class; put it before the classifier.

    A class's score is `InteractionReadout.scores` of the query that asks for it, and the softmax of the
    classes' scores is the prediction. The head takes no part in it.

    The classes are the teacher's first `head.num_classes` concepts. In training their texts are those of the
    teacher or its cache. Where the model is only tested, the teacher's text tower embeds them once.

    Args:
        *args: of the classifier.
        **kwargs: of the classifier. `logit_kd` reaches the scores by text in place of the head's.

    Raises:
        ValueError: when training begins, if `interaction_loss.presence_weight` is 0: the scores would be
            random.
    """

    predicts_by_text = True
    """Says to the tools that predictions need the read-out."""

    _class_texts: Tensor | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # It has no parameters.
        self.ranking = ClsHead()

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that it fits the read-out and knows every class, and that presence is learnt."""
        super().check_teacher(teacher)
        self._num_classes()
        if not self.interaction_loss.presence_weight:
            raise ValueError(
                f'interaction_loss.presence_weight=0, and {type(self).__name__} predicts by presence: set it '
                'above 0, or use lfi.LFIImageClassifier, which predicts by its head'
            )

    def class_texts(self) -> Tensor:
        """The unit embeddings of the classes' texts, (K, E), on the model's device."""
        if self._teacher is not None:
            texts = self.teacher.texts[: self._num_classes()]
        elif self._class_texts is not None:
            texts = self._class_texts
        else:
            tower = TextTower(self.teacher_cfg)
            texts = tower.embed(tower.concepts[: self._num_classes()])
        self._class_texts = texts.to(self.readout.text_centre.device)
        return self._class_texts

    def class_questions(self) -> Tensor:
        """What asks for each class, (K, C)."""
        return self.readout.questions(self.class_texts())

    def class_scores(self, features: Sequence, states: InteractionStates) -> Tensor:
        """The classes' presence before the sigmoid, (B, K)."""
        return self.readout.scores(states, self.class_texts())

    def forward(
        self, inputs: Tensor, data_samples: Sequence | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | Sequence:
        """As of mmpretrain's classifiers; 'tensor' gives the scores by text (B, K)."""
        if mode == 'tensor':
            return self._scores(inputs)
        return super().forward(inputs, data_samples, mode)

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any) -> Sequence:
        """The samples, each with `pred_score` (K,) and `pred_label`."""
        with self.backbone.padded(valid_sizes_of(inputs, data_samples)):
            scores = self._scores(inputs)
        return self.ranking.predict((scores,), data_samples, **kwargs)

    def _scores(self, inputs: Tensor) -> Tensor:
        with self.backbone.record_interactions(self.class_questions()) as record:
            features = self.backbone(inputs)
        return self.class_scores(features, record.states)

    def _num_classes(self) -> int:
        """How many classes there are. Not public: mmpretrain's hooks read what has the name `num_classes`."""
        return self.head.num_classes


@MODELS.register_module()
class LFITextClassifier(TextPredictMixin, LFIImageClassifier):
    """An `LFIImageClassifier` whose predictions in validation and test are by the texts of the classes.

    It is trained as `LFIImageClassifier`, and reads its checkpoints. So training without any label
    (`lfi.FewLabels` with `labels_per_class=0`) can be followed and tested: the head learns nothing then.
    For classes that the training did not name there is `LFIZeroShotClassifier`.

    Args:
        *args: of `TextPredictMixin` and `LFIImageClassifier`.
        **kwargs: likewise.
    """


@MODELS.register_module()
class ShuffledImagesTextClassifier(TextPredictMixin, ShuffledImagesClassifier):
    """The negative control of `LFITextClassifier`: images get the teacher's maps of another image.

    Args:
        *args: of `TextPredictMixin` and `ShuffledImagesClassifier`.
        **kwargs: likewise.
    """


@MODELS.register_module()
class MeanTargetTextClassifier(TextPredictMixin, MeanTargetClassifier):
    """The other negative control of `LFITextClassifier`: images keep their own presence, and learn mean maps.

    Args:
        *args: of `TextPredictMixin` and `MeanTargetClassifier`.
        **kwargs: likewise.
    """


@MODELS.register_module()
class LFIZeroShotClassifier(TextPredictMixin, LFIImageClassifier):
    """An `LFIImageClassifier` that tells classes by their names, which it need not have been trained on.

    It predicts as `TextPredictMixin` says, and leaves out the head that was trained.
    At the first prediction the teacher's text tower embeds the texts, and the prompts are written to the
    log. It reads the checkpoints of `LFIImageClassifier`, and is for testing only. Where a config has
    mmpretrain's `ClassNumCheckHook`, `data_preprocessor.num_classes` must be the number of the named classes.

    Args:
        zero_shot: `concepts`, the classes in the test set's order, or a data set that names them
            (`dict(type='lfi.PACS')`); and `templates`, as the teacher's argument of this name, by default the
            teacher's own.
        teacher: config of the teacher of the training.
        head: of the training; left out.
        **kwargs: the other arguments of `LFIImageClassifier`.

    Raises:
        ValueError: for another key in `zero_shot`.
        FileNotFoundError, ValueError, RuntimeError, ImportError: at the first prediction, as `load_vlm` and
            `ConceptBank.encode` say; and ValueError if the text space is not as wide as `readout.text_dims`.
    """

    names_classes = True
    """Says to the tools that the classes are those it names, whatever the checkpoint was trained on."""

    def __init__(self, *, zero_shot: dict, teacher: dict, head: dict | None = None, **kwargs: Any) -> None:
        if not {'concepts'} <= set(zero_shot) <= {'concepts', 'templates'}:
            raise ValueError(f'zero_shot={zero_shot} must have the key concepts, and may have templates')
        # Pictures of its interactions show the same concepts.
        teacher = {**teacher, **zero_shot}
        super().__init__(teacher=teacher, head=None, **kwargs)
        self.named_classes = TextTower(teacher).concepts
        """What the test set's classes must be, in its order, for `lfi.ConceptCheckHook`."""

    def class_texts(self) -> Tensor:
        """The unit embeddings of the named classes, (K, E)."""
        if self._class_texts is None:
            bank = TextTower(self.teacher_cfg).bank()
            self.readout.check_texts(bank.embeddings.shape[1])
            self._class_texts = bank.embeddings
            prompts, classes = ', '.join(bank.templates), ', '.join(bank.names)
            print_log(f'Zero-shot prompts: {prompts}; classes: {classes}', 'current')
        self._class_texts = self._class_texts.to(self.readout.text_centre.device)
        return self._class_texts

    def _num_classes(self) -> int:
        return len(self.named_classes)

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """It has none.

        Raises:
            TypeError: always.
        """
        raise TypeError(f'{type(self).__name__} is for testing only: train an lfi.LFIImageClassifier')
