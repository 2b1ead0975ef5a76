"""mmpretrain's classifier that learns from interactions, and any classifier of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from lfi.models.backbones import InteractionStates
from lfi.models.batches.samples import mark, refuse_overhang, refuse_padding
from lfi.models.losses import DenseFeaturesLoss, LogitKDLoss
from lfi.models.students.distill import InteractionDistillMixin
from lfi.models.students.student import AnyTask, learn_locations
from lfi.models.students.unlabelled import LabelledHeadMixin, known_labels
from lfi.models.teachers import (
    CachedFeatures,
    CachedOutputs,
    TeacherBatch,
    VLMAttentionTeacher,
    features_to_cache,
)
from lfi.registry import MODELS, build_part
from lfi.structures import REST, ImageFeatures, InteractionMaps

# The least number above 0 in half precision, in which caches keep presence.
LEAST_PRESENCE = 2.0**-24


@MODELS.register_module()
class LFIImageClassifier(InteractionDistillMixin, LabelledHeadMixin, ImageClassifier):
    """mmpretrain's `ImageClassifier` that learns from interactions.

    The concepts' first entries are the classes, in the data set's order. Images without a label
    (`lfi.FewLabels`) take part in the interaction terms alone, and presence there is the teacher's own.

    Args:
        *args: of `InteractionDistillMixin` and `ImageClassifier`.
        logit_kd: arguments of a `LogitKDLoss`, by which the head learns the teacher's probabilities of the
            classes too: presence by the pooled image, which reaches the head. With a cache they are those of
            the unaugmented image. Where `max_concepts` leaves classes out, these share what is left of 1.
            Defaults to None: none.
        dense_features: arguments of a `DenseFeaturesLoss`, by which the patches learn the teacher's features
            of each location too: all that a text could ask about. A cache then holds features
            (`CachedFeatures`); asked online, the teacher looks at each view twice. Defaults to None: none.
        **kwargs: likewise.

    Raises:
        ValueError: for `dense_features` in a negative control that changes maps alone, and in a step with it
            whose images are padded.
    """

    training_only: ClassVar[tuple[str, ...]] = ('logit_kd', 'dense_features')

    copies_features = True
    """Whether it may have `dense_features`: a negative control must change them as it changes the maps."""

    def __init__(
        self,
        *args: Any,
        logit_kd: Mapping | None = None,
        dense_features: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.dense_features: DenseFeaturesLoss | None = None
        if dense_features is not None:
            if not self.copies_features:
                raise ValueError(f'{type(self).__name__} changes maps alone: remove dense_features')
            self.cached_kind = CachedFeatures
            dims = dict(student_dims=self.backbone.query_dims, teacher_dims=self.readout.text_dims)
            self.dense_features = build_part(
                'dense_features', dense_features, type='lfi.DenseFeaturesLoss', **dims
            )
            learn_locations(self.backbone, True)
        self.logit_kd: LogitKDLoss | None = None
        if logit_kd is not None:
            self.logit_kd = build_part('logit_kd', logit_kd, type='lfi.LogitKDLoss')

    def task_loss(
        self, inputs: Tensor, data_samples: Sequence, maps: InteractionMaps, **kwargs: Any
    ) -> dict[str, Tensor]:
        """As of the mixin, joined by what the head learns of the teacher's probabilities."""
        if self.logit_kd is None:
            return super().task_loss(inputs, data_samples, maps, **kwargs)
        with self.backbone.record_interactions(self.class_questions()) as record:
            features = self.extract_feat(inputs)
        losses = self.head_loss(features, data_samples)
        scores = self.class_scores(features, record.states)
        theirs = class_log_probabilities(maps, scores.shape[1], len(self.teacher.bank))
        losses.update(self.logit_kd.compare(scores, theirs))
        return {**losses, **self.prior_losses(record.states)}

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """As of the mixin, joined by what the patches learn of the teacher's features."""
        if self.dense_features is None:
            return super().loss(inputs, data_samples, **kwargs)
        refuse_padding(inputs, data_samples)
        refuse_overhang(self.backbone, inputs)
        # A recording around the call shares its forward pass.
        with self.backbone.record_interactions() as record:
            losses = super().loss(inputs, data_samples, **kwargs)
        states = record.states
        teacher = cast('VLMAttentionTeacher | CachedFeatures', self.teacher)
        theirs = teacher.ask_features(self.teacher_batch(inputs, data_samples), states.grid)
        theirs = self._change_features(theirs)
        losses.update(self.dense_features.compare(states.locations(), theirs.locations_on(states.grid)))
        return losses

    def _change_features(self, features: ImageFeatures) -> ImageFeatures:
        """What a negative control does to the teacher's features."""
        return features

    def maps_to_cache(self, batch: TeacherBatch, data_samples: Sequence) -> InteractionMaps:
        """As of the mixin; the teacher's features where these are learnt too."""
        if self.dense_features is None:
            return super().maps_to_cache(batch, data_samples)
        return features_to_cache(self.online_teacher, batch)

    def class_questions(self) -> Tensor | None:
        """What the backbone is asked where `class_scores` are wanted; None, for the head needs nothing."""
        return None

    def class_scores(self, features: Sequence, states: InteractionStates) -> Tensor:
        """The scores (B, K) that tell the classes: the head's.

        Args:
            features: as the head takes them.
            states: of the pass that made them, which was asked `class_questions`.
        """
        return self.head(features)

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that it fits the read-out, and knows every class; with `logit_kd` how probable each is."""
        super().check_teacher(teacher)
        check_classes(getattr(self.head, 'num_classes', None), teacher)
        if self.logit_kd is not None:
            check_probabilities(teacher)

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """The images' labels (B, C), those of mixed images included; 0 for an image without a label.

        Raises:
            AttributeError: if samples have neither `gt_label` nor `gt_score`, as those of several tasks.
        """
        if 'gt_score' in data_samples[0]:
            labels = torch.stack([sample.gt_score for sample in data_samples]).float()
            return torch.nn.functional.pad(labels, (0, num_concepts - labels.shape[1]))
        labels = torch.zeros(len(data_samples), num_concepts, device=data_samples[0].gt_label.device)
        return mark(labels, known_labels(data_samples))


def class_log_probabilities(maps: InteractionMaps, num_classes: int, num_texts: int) -> Tensor:
    """The logarithm of the teacher's own presence of each class, (B, num_classes).

    What the asked concepts leave of a softmax over the bank is divided evenly among the texts that an image
    was not asked about. No presence is less than the least that a cache can hold.

    Args:
        maps: of a batch, before they are read.
        num_classes: the classes are the bank's first concepts.
        num_texts: of the bank, its background included.
    """
    presence = maps.presence.float()
    if maps.concepts is not None:
        named = presence[:, :-1]  # [B, M], without `REST`
        even = (1 - named.sum(1, keepdim=True)) / (num_texts - named.shape[1])
        # Concepts beyond the classes, and `REST`, fall into the extra last column.
        column = torch.where(
            (maps.concepts == REST) | (maps.concepts >= num_classes), num_classes, maps.concepts
        )
        presence = even.repeat(1, num_classes + 1).scatter(1, column, presence)
    return presence[:, :num_classes].clamp_min(LEAST_PRESENCE).log()


def check_probabilities(teacher: VLMAttentionTeacher | CachedOutputs) -> None:
    """Check that a teacher tells the probability of each class, for what copies it.

    Raises:
        ValueError: if it judges each concept by itself, and images are not asked about all of them.
    """
    own, asked = getattr(teacher, 'own_presence', None) or '', getattr(teacher, 'max_concepts', None)
    if own.endswith('concept by concept') and asked is not None and asked < teacher.bank.num_concepts:
        raise ValueError(
            f'logit_kd copies the probability of each class, and what the teacher says ({own}) of those '
            'that an image is not asked about is not known: leave out '
            f'teacher.max_concepts={asked}, or logit_kd'
        )


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
