"""mmpretrain's classifier with the students' prior, for the task loss alone."""

from __future__ import annotations

from mmpretrain.models.classifiers import ImageClassifier

from lfi.models.student import StudentMixin
from lfi.models.unlabelled import LabelledHeadMixin
from lfi.registry import MODELS


@MODELS.register_module()
class PriorImageClassifier(StudentMixin, LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` with an option `affinity_prior`, and no teacher.

    As for LFI the backbone is an `InteractionQueryViT`, by default a plain ViT.
    Images without a label (`lfi.FewLabels`) take part in the prior alone.
    """
