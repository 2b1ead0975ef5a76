"""mmpretrain's classifier for the task loss alone, where some images have no label."""

from __future__ import annotations

from mmpretrain.models.classifiers import ImageClassifier

from lfi.models.unlabelled import LabelledHeadMixin
from lfi.registry import MODELS


@MODELS.register_module()
class LabelledImageClassifier(LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` with any backbone, whose head learns from the labelled images alone.

    The baseline of an adapted backbone with few labels (`lfi.FewLabels`): images without a label pass through
    the backbone, and so through its batch norms, and have no loss.
    """
