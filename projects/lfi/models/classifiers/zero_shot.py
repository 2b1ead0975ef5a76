"""Classes that are named when the model is tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from lfi.models.teachers.text_tower import TextTower
from lfi.registry import MODELS

from .lfi_image_classifier import LFIImageClassifier


@MODELS.register_module()
class LFIZeroShotClassifier(LFIImageClassifier):
    """An `LFIImageClassifier` that tells classes by their names, which it need not have been trained on.

    A class's score is `InteractionReadout.scores` of the query that asks for it, and their softmax tells the
    classes; the head that was trained takes no part.
    The teacher's text tower embeds the texts once, and the prompts are written to the log. It reads the
    checkpoints of `LFIImageClassifier`, and is for testing only. Where a config has mmpretrain's
    `ClassNumCheckHook`, `data_preprocessor.num_classes` must be the number of the named classes.

    Args:
        zero_shot: `concepts`, the classes in the test set's order, or a data set that names them
            (`dict(type='lfi.PACS')`); and `templates`, as the teacher's argument of this name, by default the
            teacher's own.
        teacher: config of the teacher of the training.
        head: of the training; left out.
        **kwargs: the other arguments of `LFIImageClassifier`.

    Raises:
        FileNotFoundError, ValueError, RuntimeError, ImportError: as `load_vlm` and `ConceptBank.encode` say;
            and ValueError for another key in `zero_shot`, or if the text space is not as wide as
            `readout.text_dims`.
    """

    def __init__(self, *, zero_shot: dict, teacher: dict, head: dict | None = None, **kwargs: Any) -> None:
        if not {'concepts'} <= set(zero_shot) <= {'concepts', 'templates'}:
            raise ValueError(f'zero_shot={zero_shot} must have the key concepts, and may have templates')
        # Pictures of its interactions show the same concepts.
        teacher = {**teacher, **zero_shot}
        super().__init__(teacher=teacher, head=dict(type='mmpretrain.ClsHead'), **kwargs)
        bank = TextTower(teacher).bank()
        self.readout.check_texts(bank.embeddings.shape[1])
        self.register_buffer('texts', bank.embeddings, persistent=False)
        print_log(
            f'Zero-shot prompts: {", ".join(bank.templates)}; classes: {", ".join(bank.names)}', 'current'
        )

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> tuple[Tensor]:
        """The classes' scores (B, C), at every stage; the head but ranks them."""
        with self.backbone.record_interactions(self.readout.questions(self.texts)) as record:
            self.backbone(inputs)
        return (self.readout.scores(record.states, self.texts),)

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """It has none.

        Raises:
            TypeError: always.
        """
        raise TypeError(f'{type(self).__name__} is for testing only: train an lfi.LFIImageClassifier')
