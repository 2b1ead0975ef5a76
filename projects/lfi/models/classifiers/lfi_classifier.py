"""Any classifier of mmpretrain that learns from interactions, by a config alone."""

from __future__ import annotations

from lfi.models.task_models import AnyTask
from lfi.registry import MODELS

from .lfi_image_classifier import LFIImageClassifier


@MODELS.register_module()
class LFIClassifier(AnyTask, LFIImageClassifier):
    """An `ImageClassifier` of one's own that learns from interactions, by a config alone.

    `dict(type='lfi.LFIClassifier', task='mmpretrain.MyClassifier', backbone=..., teacher=...)` builds an
    `LFIMyClassifier`: what `LFIImageClassifier` does, before the classifier's own class.

    Args:
        task: the type of the classifier, a subclass of mmpretrain's `ImageClassifier`.
        **arguments: of the classifier, and of `LFIImageClassifier`.

    Raises:
        TypeError, ValueError: as `LFIImageClassifier` and `with_mixin` say.
    """

    prefix, mixin = 'LFI', LFIImageClassifier
