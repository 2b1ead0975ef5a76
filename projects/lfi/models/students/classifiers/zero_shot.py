"""Classes that are named when the model is tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from lfi.models.teachers.text_tower import TextTower
from lfi.registry import MODELS

from .lfi_image_classifier import LFIImageClassifier
from .text_classifier import TextPredictMixin


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
