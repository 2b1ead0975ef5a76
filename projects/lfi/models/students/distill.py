"""Interaction distillation as a mixin for any task model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lfi.models.backbones import InteractionStates
from lfi.models.batches.maps_in_view import maps_in_view, mixed_maps_in_view
from lfi.models.batches.mixtures import mixes_recorded, recorded_mixture, refuse_unrecorded_mixtures
from lfi.models.batches.samples import mark, valid_sizes_of
from lfi.models.losses import InteractionDistillLoss
from lfi.models.teachers import CachedOutputs, CachedTeacher, TeacherBatch, VLMAttentionTeacher, text_dims_of
from lfi.registry import build_part
from lfi.structures import InteractionMaps, TeacherReading
from lfi.utils.modules import eval_mode
from lfi.utils.options import check_options

from .readout import InteractionReadout
from .student import freeze_unlearnt, learn_locations
from .teacher_mixin import TeacherMixin
from .unlabelled import is_unlabelled

# A student answers as its teacher is read; docs/lab_notebook.md says how this was chosen.
RIVALRY = {'scores': 0.0, 'share': 0.9}


class InteractionDistillMixin(TeacherMixin):
    """Adds interaction-based supervision to any OpenMMLab model; put it before the model among the bases.

    The model's backbone must be an `InteractionQueryViT`, or one that is asked in the same way. In a step the
    teacher is asked first; then the student runs once, with a query for each of the image's concepts. The
    model's own `loss()` runs untouched; the interaction terms, and the prior's of `StudentMixin`, join its
    losses. The teacher is built when training begins, and never for testing; `ask` needs none.

    Args:
        *args: of `StudentMixin` and the task model.
        teacher: config of the teacher.
        teacher_cache: folder of the teacher's maps that `lfi cache` wrote, to be read in place
            of asking the teacher; the training pipeline must record views (`lfi.RecordView`) and read the
            maps (`lfi.LoadInteractionMaps`). Defaults to None.
        readout: arguments of the `InteractionReadout`. `text_dims` defaults to what `text_dims_of` finds in
            the config of the teacher's model. `rivalry` defaults to 0.9 where the teacher's locations are
            read by share, and to 0 where by scores, or where neither concepts nor presence are learnt.
            Defaults to both of these.
        reading: arguments of the `TeacherReading`: how locations and presence are read from the teacher's
            maps. Defaults to its own: scores, and presence by the pooled image.
        interaction_loss: arguments of the `InteractionDistillLoss`. Defaults to its own.
        **kwargs: of `StudentMixin` and the task model.

    Raises:
        TypeError: if the backbone records no interactions.
        ValueError: if images are mixed while their maps come from a cache, and not as `record_mixtures`
            knows it; for a `rivalry` by scores that do not learn; or as `text_dims_of` says.
    """

    asks = True
    training_only: ClassVar[tuple[str, ...]] = ('readout', 'reading', 'interaction_loss')

    answers_by_readout = True
    """Says to the tools that what is asked is answered by the read-out."""

    reads_labels = True
    """Says to the tools whether `image_labels` are the data's own: then concepts begin with its classes."""

    def __init__(
        self,
        *args: Any,
        teacher: dict,
        readout: Mapping = MappingProxyType({}),
        teacher_cache: str | None = None,
        reading: Mapping = MappingProxyType({}),
        interaction_loss: Mapping = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, teacher=teacher, teacher_cache=teacher_cache, **kwargs)
        check_options(reading=reading, readout=readout)
        self.reading = TeacherReading(**reading)
        self.interaction_loss: InteractionDistillLoss = build_part(
            'interaction_loss', interaction_loss, type='lfi.InteractionDistillLoss'
        )
        loss = self.interaction_loss
        compares = loss.concepts_weight + loss.presence_weight > 0
        defaults = {
            'embed_dims': self.backbone.query_dims,
            'rivalry': RIVALRY[self.reading.positions_reading] if compares else 0.0,
        }
        if readout.get('text_dims') is None:
            readout = {**readout, 'text_dims': text_dims_of(teacher)}
        self.readout: InteractionReadout = build_part(
            'readout', readout, type='lfi.InteractionReadout', **defaults
        )
        if self.readout.rivalry and not compares:
            raise ValueError(
                f'readout.rivalry={self.readout.rivalry} weighs answers by the scores over concepts, which '
                'learn nothing where interaction_loss.concepts_weight and presence_weight are 0: remove it'
            )
        # DDP wants a gradient for every trainable parameter, each step.
        readout_ = self.readout
        for modules, weight in (
            ((readout_.patch_norm, readout_.patch_head), loss.concepts_weight + loss.presence_weight),
            ((readout_.presence_norm, readout_.presence_head), loss.presence_weight),
            ((readout_.question_head,), loss.positions_weight + loss.presence_weight),
        ):
            for module in modules:
                module.requires_grad_(weight > 0)
        freeze_unlearnt(self.backbone, loss.positions_weight > 0, loss.presence_weight > 0)
        if not compares and not loss.positions_weight:
            learn_locations(self.backbone, self.affinity_prior is not None)

    def init_weights(self) -> None:
        """As of `TeacherMixin`; the read-out meets the concepts' texts."""
        super().init_weights()
        self.readout.meet_texts(self.teacher.texts, self.teacher.bank.num_background)

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that its text space fits the read-out, and its maps the reading and the loss.

        Raises:
            ValueError: if they do not.
        """
        self.readout.check_texts(teacher.texts.shape[1])
        self.reading.check(teacher.directions)
        # A teacher of another kind may lack it.
        own = getattr(teacher, 'own_presence', None) or '' if self.reading.presence == 'image' else ''
        if len(teacher.texts) == 1 and (own.startswith('softmax') or self.reading.compares_concepts):
            raise ValueError(
                'teacher.concepts has one text and no background beside it, and a softmax finds it in every '
                "image: give more texts, or what is there where it is not, teacher.background=['background']"
            )
        cached = self._teacher_cache is not None
        if cached and 'concepts' not in teacher.directions and mixes_recorded(self.data_preprocessor):
            raise ValueError(
                'the maps of this teacher have no reading over concepts, and those of one image cannot be '
                "compared with another's: remove data_preprocessor.batch_augments (or train_cfg.augments), "
                'or ask the teacher online, by teacher_cache=None'
            )
        # The read-out of what the teacher does not say would get no gradient.
        if self.interaction_loss.concepts_weight and 'concepts' not in teacher.directions:
            raise ValueError(
                'the maps of this teacher have no reading over concepts: set '
                'interaction_loss.concepts_weight=0'
            )

    if TYPE_CHECKING:

        @property
        def teacher(self) -> VLMAttentionTeacher | CachedTeacher:
            """As `TeacherMixin.teacher`."""

    def maps_to_cache(self, batch: TeacherBatch, data_samples: Sequence) -> InteractionMaps:
        """As `TeacherMixin.maps_to_cache`; presence is the teacher's own: labels are the view's."""
        labels = self.concept_labels(data_samples)
        return self.online_teacher(batch.inputs, batch.pixels, labels, batch.valid_sizes)

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """The images' labels among the concepts, (B, C) in [0, 1]; the task model says how it keeps them."""
        raise NotImplementedError

    def concept_labels(self, data_samples: Sequence) -> Tensor:
        """The images' labels, and what their captions speak of (`lfi.LoadCaptionConcepts`), (B, C).

        Raises:
            ValueError: for an image with neither, if presence is that of the labels alone.
        """
        labels = self.image_labels(data_samples, len(self.teacher.bank))
        hidden = [row for row, sample in enumerate(data_samples) if is_unlabelled(sample)]
        if self.reading.presence == 'label' and any('gt_concepts' not in data_samples[row] for row in hidden):
            raise ValueError(
                "presence='label' takes for absent what no label names, and some images have no label: set "
                "reading.presence to 'best-location' or 'image'"
            )
        if hidden:
            # What annotations there are is not to be known.
            rows = torch.tensor(hidden).to(labels.device, non_blocking=True)
            labels = labels.index_fill(0, rows, 0)
        captions = [sample.gt_concepts for sample in data_samples if 'gt_concepts' in sample]
        if captions:
            # A data set with captions may stand beside one without; all are on one device.
            named = [sample.get('gt_concepts', captions[0][:0]) for sample in data_samples]
            spoken = mark(torch.zeros_like(labels), named)
            refuse_unrecorded_mixtures(self.data_preprocessor)
            mixture = recorded_mixture(data_samples)
            labels = torch.maximum(labels, spoken if mixture is None else mixture.mix_labels(spoken))
        return labels

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """The task's losses, joined by the interaction terms."""
        maps, labels = self._teacher_maps(inputs, data_samples)
        teacher = self._read(maps, labels)
        if self._first_step:
            _check(teacher, data_samples)
            # A checkpoint from which training began may have brought those of another bank.
            self.readout.meet_rivals(self.teacher.texts, self.teacher.bank.num_background)
            self._first_step = False
        texts = self.teacher.texts
        questions = self.readout.questions(texts, teacher.concepts)
        valid_sizes = valid_sizes_of(inputs, data_samples)
        with self.backbone.record_interactions(questions, valid_sizes) as record:
            losses = self.task_loss(inputs, data_samples, maps, **kwargs)
        losses.update(self.interaction_loss(self.readout(record.states, texts, teacher), teacher))
        return losses

    def task_loss(
        self, inputs: Tensor, data_samples: Sequence, maps: InteractionMaps, **kwargs: Any
    ) -> dict[str, Tensor]:
        """The task's own losses and the prior's; a task that learns more of the teacher adds it here.

        Args:
            inputs: (B, 3, H, W), preprocessed.
            data_samples: of the images.
            maps: the teacher's, before they are read: presence is its own, of the image.
            **kwargs: of the task's loss.
        """
        return super().loss(inputs, data_samples, **kwargs)

    @torch.no_grad()
    def ask(
        self, images: Tensor, texts: Tensor, valid_sizes: Sequence[tuple[int, int]] | None = None
    ) -> InteractionMaps:
        """Ask the student where concepts are, and whether; any texts will do.

        A model in training mode answers as in evaluation mode, and is in training mode afterwards.

        Args:
            images: (B, 3, H, W), as the backbone gets them.
            texts: (M, E), unit embeddings by the text tower of the training's teacher.
            valid_sizes: height and width in pixels of each image's area at the top left that is not padding.
                Defaults to None, all of it.

        Returns:
            Maps over positions, one for each text at each supervised layer, with the student's own presence.

        Raises:
            ValueError: if the texts are not as wide as `readout.text_dims`.
        """
        if texts.ndim != 2 or texts.shape[1] != self.readout.text_dims:
            raise ValueError(
                f'texts must be (M, E) with E = readout.text_dims = {self.readout.text_dims}, '
                f'got shape {tuple(texts.shape)}'
            )
        sizes = valid_sizes_of(images, None) if valid_sizes is None else valid_sizes
        questions = self.readout.questions(texts)
        with eval_mode(self), self.backbone.record_interactions(questions, sizes) as record:
            self.backbone(images)
            return self.answers(record.states, images, texts, sizes)

    def answers(
        self,
        states: InteractionStates,
        images: Tensor,
        texts: Tensor,
        valid_sizes: Sequence[tuple[int, int]],
    ) -> InteractionMaps:
        """The answers of a forward pass that was asked: what `ask` returns, for those who make the pass.

        Args:
            states: what the backbone recorded of it, with the questions of the texts.
            images: (B, 3, H, W), as `ask` has them.
            texts: (M, E), likewise.
            valid_sizes: likewise.
        """
        b, m = len(images), len(texts)
        everywhere = InteractionMaps(
            logits=images.new_zeros(b, 1, m, 1, 1, dtype=torch.float32),
            presence=images.new_ones(b, m, dtype=torch.float32),
            valid=torch.ones(b, 1, 1, dtype=torch.bool, device=images.device),
        )
        return self.readout.answers(
            states, texts, maps_in_view(everywhere, self.backbone, images, valid_sizes)
        )

    @torch.no_grad()
    def predict_interactions(
        self, inputs: Tensor, data_samples: Sequence
    ) -> tuple[InteractionMaps, InteractionMaps]:
        """Teacher's and student's maps of a batch, over positions, of the same concepts on the same grid.

        In training mode they are those of evaluation mode, as `ask` says; a negative control changes none.
        """
        with eval_mode(self):
            teacher = self._ask_teacher(inputs, data_samples)
            questions = self.readout.questions(self.teacher.texts, teacher.concepts)
            valid_sizes = valid_sizes_of(inputs, data_samples)
            with self.backbone.record_interactions(questions, valid_sizes) as record:
                self.backbone(inputs)
            return teacher, self.readout.answers(record.states, self.teacher.texts, teacher)

    @torch.no_grad()
    def teacher_answers(
        self,
        images: Tensor,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
        labels: Tensor | None = None,
    ) -> tuple[InteractionMaps, InteractionMaps]:
        """The teacher's maps on the student's grid, as they are read.

        No label raises their presence, and no negative control changes them.

        Args:
            images: as `ask` has them.
            valid_sizes: likewise.
            labels: (B, C) in [0, 1], the images' labels among the concepts: a step of training asks about
                these first. Defaults to None, none is known.

        Returns:
            The maps of all concepts of the bank; and of those that a step of training asks about.

        Raises:
            TypeError: if the model reads a cache.
        """
        sizes = valid_sizes_of(images, None) if valid_sizes is None else valid_sizes
        teacher = self.online_teacher
        maps = teacher.maps_of_all(images, self.pixels, sizes)
        every, asked = (
            self.reading(maps_in_view(each, self.backbone, images, sizes))
            for each in (maps, teacher.asked(maps, labels))
        )
        return every, asked

    def _ask_teacher(self, inputs: Tensor, data_samples: Sequence) -> InteractionMaps:
        """The teacher's maps on the student's grid, as they are read."""
        return self._read(*self._teacher_maps(inputs, data_samples))

    def _teacher_maps(self, inputs: Tensor, data_samples: Sequence) -> tuple[InteractionMaps, Tensor]:
        """The teacher's maps on the student's grid before they are read, and the images' labels (B, C)."""
        labels = self.concept_labels(data_samples)
        batch = self.teacher_batch(inputs, data_samples, labels)
        maps, views = self.teacher.ask(batch)
        if views is None or (batch.pieces is None and batch.mixture is None):
            maps = maps_in_view(maps, self.backbone, inputs, batch.valid_sizes, views)
        else:
            num_texts = len(self.teacher.bank)
            maps = mixed_maps_in_view(maps, self.backbone, batch, views, num_texts, labels)
        return self._change(maps), labels

    def _change(self, maps: InteractionMaps) -> InteractionMaps:
        """What a negative control does to the teacher's maps before they are read."""
        return maps

    def _read(self, maps: InteractionMaps, labels: Tensor) -> InteractionMaps:
        """What the student learns from; labels are (B, C)."""
        return self.reading(maps, labels)

    # Values are checked once: a check waits for the device.
    _first_step = True


def _check(maps: InteractionMaps, data_samples: Sequence) -> None:
    """Check the teacher's maps of a batch; an error names its images."""
    try:
        maps.check()
    except ValueError as error:
        names = ', '.join(str(getattr(sample, 'img_path', 'unknown')) for sample in data_samples)
        raise ValueError(f"the teacher's maps: {error}. Its images, in this order: {names}") from error
