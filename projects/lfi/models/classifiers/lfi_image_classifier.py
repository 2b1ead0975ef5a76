"""mmpretrain's classifier that learns from interactions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from lfi.models.batches import mark
from lfi.models.distill import InteractionDistillMixin
from lfi.models.teachers import CachedOutputs, VLMAttentionTeacher
from lfi.models.unlabelled import LabelledHeadMixin, known_labels
from lfi.registry import MODELS


@MODELS.register_module()
class LFIImageClassifier(InteractionDistillMixin, LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` that learns from interactions.

    The concepts' first entries are the classes, in the data set's order. Images without a label
    (`lfi.FewLabels`) take part in the interaction terms alone, and presence there is the teacher's own.
    """

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that it fits the read-out, and knows every class."""
        super().check_teacher(teacher)
        check_classes(getattr(self.head, 'num_classes', None), teacher)

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """The images' labels (B, C), those of mixed images included; 0 for an image without a label."""
        if 'gt_score' in data_samples[0]:
            labels = torch.stack([sample.gt_score for sample in data_samples]).float()
            return torch.nn.functional.pad(labels, (0, num_concepts - labels.shape[1]))
        labels = torch.zeros(len(data_samples), num_concepts, device=data_samples[0].gt_label.device)
        return mark(labels, known_labels(data_samples))


def check_classes(num_classes: int | None, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
    """Check that the head's classes are among the teacher's concepts.

    Raises:
        ValueError: if there are more classes than concepts.
    """
    num_concepts = teacher.bank.num_concepts
    if num_classes and num_classes > num_concepts:
        raise ValueError(
            f'head.num_classes={num_classes}, but the teacher has {num_concepts} concepts: '
            'teacher.concepts must begin with every class'
        )
