"""Interaction distillation as a mixin for any task model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lfi.registry import MODELS, TEACHERS
from lfi.structures import InteractionMaps, filled_share

from .backbones import InteractionQueryViT
from .batches import (
    mark,
    pixel_format,
    recorded_views,
    seen_canvas,
    stored_maps,
    valid_sizes_of,
)
from .losses import InteractionDistillLoss, TextSpaceClassLoss
from .raw_images import check_images
from .readout import InteractionReadout
from .teachers import CachedOutputs, CachedTeacher, PixelFormat, TeacherBatch, VLMAttentionTeacher

if TYPE_CHECKING:
    # Of what a mixin stands before; it has a data preprocessor, a backbone, `loss` and `predict`.
    from mmengine.model import BaseModel as TaskModel
else:
    TaskModel = object


class TeacherMixin(TaskModel):
    """What every model does that learns from a teacher: build it when training begins, or open its cache.

    The model sets `_teacher_cfg`, and `_teacher_cache`, a folder or None.
    """

    cached_kind: type[CachedOutputs] = CachedTeacher
    """What stands in for the teacher where there is a cache."""

    _teacher_cfg: dict
    _teacher_cache: str | None
    _teacher: VLMAttentionTeacher | CachedOutputs | None = None
    _pixels: tuple[nn.Module, PixelFormat] | None = None

    @property
    def teacher(self) -> VLMAttentionTeacher | CachedOutputs:
        """The teacher; building it loads its weights and embeds the concepts, or opens the cache."""
        if self._teacher is None:
            if self._teacher_cache is None:
                teacher = TEACHERS.build(self._teacher_cfg)
            else:
                teacher = self.cached_kind(self._teacher_cache, self._teacher_cfg)
            self.check_teacher(teacher)
            self._teacher = teacher
        return self._teacher

    @property
    def online_teacher(self) -> VLMAttentionTeacher:
        """The teacher itself.

        Raises:
            TypeError: if the model reads a cache.
        """
        if not isinstance(self.teacher, VLMAttentionTeacher):
            raise TypeError(
                f'teacher_cache={self._teacher_cache!r} stands in for the teacher: set it to None'
            )
        return self.teacher

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that the teacher fits the model."""

    @property
    def pixels(self) -> PixelFormat:
        """How the data preprocessor makes its pixels; read once, for that waits for the device."""
        if self._pixels is None or self._pixels[0] is not self.data_preprocessor:
            # In a tuple, lest the preprocessor be registered twice.
            self._pixels = self.data_preprocessor, pixel_format(self.data_preprocessor)
        return self._pixels[1]

    def teacher_batch(
        self, inputs: Tensor, data_samples: Sequence, labels: Tensor | None = None
    ) -> TeacherBatch:
        """A batch as the teacher is shown it.

        Args:
            inputs: (B, 3, H, W), preprocessed.
            data_samples: of the images.
            labels: (B, C), among the concepts. Defaults to None: none is asked about.
        """
        return TeacherBatch(
            inputs,
            self.pixels,
            valid_sizes_of(inputs, data_samples),
            labels,
            stored_maps(data_samples),
            recorded_views(data_samples, inputs.device),
        )

    def maps_to_cache(self, batch: TeacherBatch, data_samples: Sequence) -> InteractionMaps:
        """What a cache keeps of unaugmented images.

        Args:
            batch: the images.
            data_samples: of the images.
        """
        raise NotImplementedError

    def cache_identity(self) -> dict:
        """What a cache for this model must be of."""
        return self.cached_kind.identity(self._teacher_cfg)

    def init_weights(self) -> None:
        """As the model's own; builds the teacher, or opens its cache."""
        super().init_weights()
        # The Runner calls this before training only: a missing teacher is known before the first step.
        _ = self.teacher, self.pixels


class InteractionDistillMixin(TeacherMixin):
    """Adds interaction-based supervision to any OpenMMLab model; put it before the model among the bases.

    The model's backbone must be an `InteractionQueryViT`. Its own `loss()` runs untouched; the
    interaction terms join its losses. The teacher is built when training begins, and never for testing.

    Args:
        *args: the task model's own.
        teacher: config of the teacher.
        teacher_cache: folder of the teacher's maps that `tools/cache_teacher.py` wrote, to be read in place
            of asking the teacher; the training pipeline must record views (`lfi.RecordView`) and read the
            maps (`lfi.LoadInteractionMaps`). Defaults to None.
        readout: arguments of the `InteractionReadout`; `text_dims` must be given.
        interaction_loss: arguments of the `InteractionDistillLoss`. Defaults to its own.
        text_class_loss: arguments of the `TextSpaceClassLoss`; None leaves it out.
            Defaults to its own.
        **kwargs: the task model's own.

    Raises:
        TypeError: if the backbone records no interactions.
        ValueError: if the backbone has no queries, or images are mixed (Mixup, CutMix) while their maps
            come from a cache.
    """

    def __init__(
        self,
        *args: Any,
        teacher: dict,
        readout: dict,
        teacher_cache: str | None = None,
        interaction_loss: Mapping = MappingProxyType({}),
        text_class_loss: Mapping | None = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        require_interactions(self)
        if not self.backbone.num_queries:
            raise ValueError(f'{type(self).__name__} needs backbone.num_queries of at least 1, got 0')
        check_images(self.data_preprocessor, teacher_cache)
        self._teacher_cfg = teacher
        self._teacher_cache = teacher_cache
        self.interaction_loss: InteractionDistillLoss = _build('lfi.InteractionDistillLoss', interaction_loss)
        self.text_class_loss: TextSpaceClassLoss | None = (
            None if text_class_loss is None else _build('lfi.TextSpaceClassLoss', text_class_loss)
        )
        self.readout: InteractionReadout = _build(
            'lfi.InteractionReadout', {'embed_dims': self.backbone.embed_dims, **readout}
        )
        # DDP wants a gradient for every trainable parameter, each step.
        for module in (self.readout.patch_norm, self.readout.patch_head):
            module.requires_grad_(self.interaction_loss.concepts_weight > 0)
        self.readout.query_head.requires_grad_(
            self.text_class_loss is not None
            or (self.readout.assign == 'soft' and self.interaction_loss.reads_positions)
        )
        if self.text_class_loss is None and not self.interaction_loss.reads_positions:
            freeze_unread_queries(self.backbone)

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that its text space and bank fit the read-out, and its readings the loss.

        Raises:
            ValueError: if they do not.
        """
        num_concepts, text_dims = teacher.texts.shape
        self.readout.check_bank(num_concepts, text_dims, self.backbone.num_queries)
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
        return self.online_teacher.own_maps(batch.inputs, batch.pixels, labels, batch.valid_sizes)

    def image_labels(self, data_samples: Sequence, num_concepts: int) -> Tensor:
        """The images' labels among the concepts, (B, C) in [0, 1]; the task model says how it keeps them."""
        raise NotImplementedError

    def concept_labels(self, data_samples: Sequence) -> Tensor:
        """The images' labels, and what their captions speak of (`lfi.LoadCaptionConcepts`), (B, C)."""
        labels = self.image_labels(data_samples, len(self.teacher.bank))
        if 'gt_concepts' in data_samples[0]:
            labels = mark(labels, [sample.gt_concepts for sample in data_samples])
        return labels

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """The task's losses, joined by the interaction terms."""
        valid_sizes = valid_sizes_of(inputs, data_samples)
        with self.backbone.padded(valid_sizes), self.backbone.record_interactions() as record:
            losses = super().loss(inputs, data_samples, **kwargs)
        states = record.states
        maps, labels = self._ask_teacher(inputs, data_samples, states.grid)
        if self._first_step:
            _check(maps, data_samples)
            self._first_step = False

        texts = self.teacher.texts
        queries = self.readout.query_embeddings(states)
        if self.interaction_loss.reads_positions:
            student = self.readout.text_to_image(states, queries, texts, maps)
            losses.update(self.interaction_loss(student, maps))
        if self.interaction_loss.concepts_weight:
            student = self.readout.image_to_text(states, texts, maps)
            losses.update(self.interaction_loss(student, maps))
        if self.text_class_loss is not None:
            scores = self.readout.class_scores(queries, texts)
            losses['loss_text_class'] = self.text_class_loss(scores, labels)
        return losses

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any) -> Sequence:
        """The task's predictions; queries read no padding, as in training."""
        if data_samples is None:
            return super().predict(inputs, data_samples, **kwargs)
        with self.backbone.padded(valid_sizes_of(inputs, data_samples)):
            return super().predict(inputs, data_samples, **kwargs)

    @torch.no_grad()
    def predict_interactions(
        self, inputs: Tensor, data_samples: Sequence
    ) -> tuple[InteractionMaps, InteractionMaps]:
        """Teacher's and student's maps of a batch, over positions, of the same concepts on the same grid."""
        valid_sizes = valid_sizes_of(inputs, data_samples)
        with self.backbone.padded(valid_sizes), self.backbone.record_interactions() as record:
            self.backbone(inputs)
        states = record.states
        maps, _ = self._ask_teacher(inputs, data_samples, states.grid)
        queries = self.readout.query_embeddings(states)
        return maps, self.readout.text_to_image(states, queries, self.teacher.texts, maps)

    def _ask_teacher(
        self, inputs: Tensor, data_samples: Sequence, grid: tuple[int, int]
    ) -> tuple[InteractionMaps, Tensor]:
        """The teacher's maps on the student's grid, and the images' labels (B, C)."""
        labels = self.concept_labels(data_samples)
        batch = self.teacher_batch(inputs, data_samples, labels)
        maps, views = self.teacher.ask(batch)
        height, width = inputs.shape[-2:]
        canvas = seen_canvas(self.backbone, (height, width), grid)
        padded = any(size != canvas for size in batch.valid_sizes)
        if views is None and not padded:
            return maps.resize(grid), labels
        if views is None:
            views = torch.eye(2, 3, device=inputs.device).expand(len(inputs), 2, 3)
        filled = filled_share(canvas, batch.valid_sizes, inputs.device) if padded else None
        return maps.warp(views, grid, filled), labels

    # Values are checked once: a check waits for the device.
    _first_step = True


def require_interactions(model: torch.nn.Module) -> None:
    """Raise a TypeError if a model's backbone records no interactions."""
    if not hasattr(model.backbone, 'record_interactions'):
        raise TypeError(
            f'{type(model).__name__} needs an lfi.InteractionQueryViT as backbone, '
            f'got {type(model.backbone).__name__}'
        )


def freeze_unread_queries(backbone: InteractionQueryViT) -> None:
    """Freeze the queries where neither patches nor features read them; for models whose losses do not either.

    They would get no gradient, at which DDP stops.
    """
    if backbone.write_back == 'none' and backbone.fuse == 'none':
        assert backbone.interaction_queries is not None
        backbone.interaction_queries.requires_grad_(False)


def _build(default_type: str, arguments: Mapping) -> Any:
    return MODELS.build({'type': default_type, **arguments})


def _check(maps: InteractionMaps, data_samples: Sequence) -> None:
    """Check the teacher's maps of a batch; an error names its images."""
    try:
        maps.check()
    except ValueError as error:
        names = ', '.join(str(getattr(sample, 'img_path', 'unknown')) for sample in data_samples)
        raise ValueError(f"the teacher's maps: {error}. Its images, in this order: {names}") from error
