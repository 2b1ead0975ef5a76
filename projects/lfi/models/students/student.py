"""The student: a task's model that also learns from supervision parts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from lfi.models.backbones import InteractionStates
from lfi.models.batches.mixtures import check_mixable, check_mixtures_recorded, records_mixtures
from lfi.models.batches.pixel_format import pixel_format_of
from lfi.models.batches.raw_images import correct_image_sizes, register_image_checks
from lfi.models.readout import InteractionReadout
from lfi.models.supervision import Interactions, StudentOutputs, StudentWidths, SupervisionPart
from lfi.models.teachers import Teacher, VLMAttentionTeacher, build_teacher, text_dims_of
from lfi.registry import MODELS
from lfi.structures import (
    BatchView,
    InteractionMaps,
    PixelFormat,
    StudentGrid,
    get_valid_sizes,
    maps_in_view,
)
from lfi.utils.modules import class_with_mixin, eval_mode
from lfi.utils.options import check_dicts
from lfi.utils.training_runs import is_first_iteration

from .components import (
    build_control,
    build_predict_by,
    build_readout,
    build_supervision,
    check_contrast_weight,
    check_head,
    check_readout_trained,
    check_teacher,
    needs_readout,
    student_outputs_of,
    teacher_outputs_of,
)
from .freezing import freeze_unused
from .labels import concept_labels_of
from .tasks import TASKS, task_of
from .tasks.pretraining import Pretraining
from .untrained_weights import check_losses_reach

if TYPE_CHECKING:

    class _TaskModel(BaseModel):
        """Stand-in for the class of the task's model, which follows `Student` in the class order (MRO)."""

        backbone: Any
        head: Any

        def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Any]: ...

        def predict(self, inputs: Tensor, data_samples: Sequence | None, **kwargs: Any) -> Sequence: ...

        def extract_feat(self, *args: Any, **kwargs: Any) -> Any: ...

else:
    _TaskModel = object

ADDED_ARGUMENTS = ('teacher', 'readout', 'supervision', 'control', 'predict_by')
"""Arguments that `Student` adds to those of the task's model, beside `task`."""


@MODELS.register_module()
class Student(_TaskModel):
    """Model of any task that also learns from supervision parts, most of which need a teacher.

    `dict(type='lfi.Student', task='mmdet.RTMDet', backbone=..., ...)` builds a `StudentRTMDet`, a subclass of
    the task model's class with the same arguments, parameter names, predictions and hooks.

    In a training step the teacher computes its targets. The student runs once, with a query for each concept
    that a part asks about. The task's loss uses the images that have a label, and each part compares the
    student with the part's target. The teacher is built when training begins, and never for testing or `ask`.

    Args:
        task: registered type of the task's model, with its scope. The model has one backbone, which takes one
            image tensor. Defaults to None: a backbone alone, for pretraining.
        teacher: config of a teacher of `lfi.registry.TEACHERS`. Its `cache` names a folder that `lfi cache`
            wrote; training then reads the folder and does not run the teacher. Defaults to None: no teacher.
        readout: arguments of the `InteractionReadout`, with which the student answers questions about texts.
            `text_dims` defaults to the width that the teacher's config states. Defaults to None: a read-out
            with default arguments if a part or `predict_by` needs one, else no read-out.
        supervision: configs of supervision parts, by names of your choice. None switches a part off. Parts
            run in the order of their names. Defaults to None: the task's loss alone.
        control: config of a negative control, which acts in training. Defaults to None.
        predict_by: config of the way to predict, such as `lfi.ByHead` or `lfi.ByTexts`. Defaults to None: the
            task's default, and without a task `lfi.ByFeatures`.
        **kwargs: arguments of the task's model.

    Raises:
        ValueError: if the task's model does not fit, a part is unknown or lacks what it needs, or a control
            changes nothing. The message names the option and the value to set.
        TypeError: if a part or the read-out needs recorded interactions, and the backbone records none.
    """

    readout: InteractionReadout | None
    _teacher: Teacher | None = None
    _pixel_format: tuple[nn.Module, PixelFormat] | None = None
    _features: Any = None
    # Targets are checked in the first step only: a check waits for the device.
    _first_step_done = False

    def __new__(cls, *args: Any, task: str | None = None, **kwargs: Any) -> Student:
        """Create an instance of the student class of the task."""
        kind = student_class(task) if cls is Student else cls
        return object.__new__(kind)

    def __init__(
        self,
        *args: Any,
        task: str | None = None,
        teacher: Mapping | None = None,
        readout: Mapping | None = None,
        supervision: Mapping | None = None,
        control: Mapping | None = None,
        predict_by: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        _require_one_backbone(self)
        family = Pretraining if task is None else task_of(type(self))
        # `student_class` has refused a task without a family.
        assert family is not None
        self.family = family()
        correct_image_sizes(self.data_preprocessor)
        self.family.set_up(self)
        for name, option in (('teacher', teacher), ('readout', readout)):
            if option is not None:
                check_dicts(**{name: option})
        cache = None if teacher is None else teacher.get('cache')
        if not isinstance(cache, str | PathLike | None):
            raise ValueError(f'teacher.cache={cache!r} must be a folder, or None to ask the teacher')
        self.predict_by = build_predict_by(predict_by, self.family.default_predict_by)
        self.teacher_cfg = None if teacher is None else self.predict_by.teacher_cfg_for(teacher)
        parts = build_supervision({} if supervision is None else supervision, self.family, self.teacher_cfg)
        check_head(getattr(self, 'head', None), parts)
        if parts or readout is not None or needs_readout(parts, self.predict_by):
            self._require_recording_backbone()
        query_dims = getattr(self.backbone, 'query_dims', 0)
        # Pass the function instead of a width: not every part needs one, and without a teacher a call raises.
        self.readout = build_readout(readout, parts, self.predict_by, query_dims, self._find_text_dims)
        widths = StudentWidths(*self._widths(), self._find_text_dims, self.family.num_classes(self))
        for part in parts.values():
            part.build_heads(widths)
        self.supervision = nn.ModuleDict(parts)
        self.control = build_control(control, parts)
        # `teacher_outputs` and `student_outputs` are names of the outputs that parts need.
        self.teacher_outputs = teacher_outputs_of(parts.values())
        if self.teacher_outputs:
            register_image_checks(self.data_preprocessor, self.require_teacher_cfg().get('cache'))
        self.student_outputs = student_outputs_of(parts, self.predict_by)
        check_contrast_weight(self.readout, self.student_outputs)
        freeze_unused(self.backbone, self.readout, self.student_outputs)
        self.predict_by.check(self)

    def _find_text_dims(self) -> int:
        """Return the width of the teacher's text space, from the read-out or the teacher's config."""
        readout = getattr(self, 'readout', None)
        if readout is not None:
            return int(readout.text_dims)
        if self.teacher_cfg is None:
            raise ValueError('without model.teacher, set readout.text_dims to the width of the text space')
        return text_dims_of(self.teacher_cfg)

    def _widths(self) -> tuple[int, int]:
        """Return the widths of tokens and of the pooled vector."""
        tokens = getattr(self.backbone, 'query_dims', 0)
        vector = getattr(getattr(self, 'head', None), 'in_channels', None)
        return tokens, vector if isinstance(vector, int) else tokens

    def _require_recording_backbone(self) -> None:
        if not hasattr(self.backbone, 'record_interactions'):
            raise TypeError(
                f'{type(self).__name__} needs a backbone that records interactions: an '
                'lfi.InteractionQueryViT, or another backbone inside an lfi.InteractionQueryAdapter; got '
                f'{type(self.backbone).__name__}'
            )

    @property
    def parts(self) -> dict[str, SupervisionPart]:
        """Supervision parts by name, in the order in which they run: sorted by name."""
        parts: Any = self.supervision
        return dict(sorted(parts.items()))

    @property
    def trained_outputs(self) -> frozenset[str]:
        """Names of the student's outputs that enter a loss whose weight is above 0."""
        parts = {name: part for name, part in self.parts.items() if part.learns}
        return student_outputs_of(parts, self.predict_by)

    @property
    def teacher(self) -> Teacher:
        """Teacher of the student. The first access loads weights and embeds concepts, or opens the cache.

        Raises:
            TypeError: if the student has no teacher.
        """
        if self._teacher is None:
            config = self.require_teacher_cfg()
            teacher = build_teacher(config, self.teacher_outputs)
            text_dims = None if self.readout is None else self.readout.text_dims
            check_teacher(teacher, self.parts, text_dims, self.family.num_classes(self))
            if config.get('cache') is not None and records_mixtures(self.data_preprocessor):
                # Cached maps can be mixed only if their scores can be compared between concepts.
                check_mixable(teacher.directions)
            self._teacher = teacher
        return self._teacher

    def require_teacher_cfg(self) -> Mapping[str, Any]:
        """Return the config of the teacher.

        Raises:
            TypeError: if the student has no teacher.
        """
        if self.teacher_cfg is None:
            raise TypeError(f'{type(self).__name__} has no teacher: set model.teacher')
        return self.teacher_cfg

    @property
    def teacher_is_built(self) -> bool:
        """Whether the teacher is built."""
        return self._teacher is not None

    @property
    def online_teacher(self) -> VLMAttentionTeacher:
        """The teacher, if it runs on images and gives maps of all concepts.

        Raises:
            TypeError: if the student reads a cache, or the teacher is no `VLMAttentionTeacher`.
        """
        cache = self.require_teacher_cfg().get('cache')
        if cache is not None:
            raise TypeError(f'the teacher must run on images: set model.teacher.cache=None, not {cache!r}')
        if not isinstance(self.teacher, VLMAttentionTeacher):
            raise TypeError(
                f'{type(self.teacher).__name__} cannot give maps of all concepts: use a VLMAttentionTeacher'
            )
        return self.teacher

    def check_training(self) -> None:
        """Check that the student can be trained.

        The check does not need the teacher. Call it before the teacher is built or its cache is opened.

        Raises:
            ValueError: if predictions use a module that no loss trains, the pixel format is not defined, or
                no part reads the cache. The message names the option and the value to set.
        """
        self.family.check_training(self)
        self.predict_by.check_training(self)
        check_readout_trained(self.readout, self.trained_outputs)
        if self.teacher_outputs:
            # The property raises if the data preprocessor does not define its pixel format.
            _ = self.pixel_format
        cache = (self.teacher_cfg or {}).get('cache')
        if cache is not None and not self.teacher_outputs:
            raise ValueError(
                f'no supervision part reads model.teacher.cache={cache!r}: set it to None, or add a part '
                'that needs the teacher'
            )

    def init_weights(self) -> None:
        """Initialise the task's model, and build the teacher or open its cache.

        The read-out takes its mean text and its contrast texts from the teacher's bank. It keeps the mean
        text of weights that `init_cfg` names.
        """
        super().init_weights()
        # The Runner calls this method before training only.
        self.check_training()
        if self.teacher_outputs:
            _ = self.teacher
            if self.readout is not None:
                texts, num_background = self.teacher.text_embeddings, self.teacher.bank.num_background
                if not self.readout.text_centre.any():
                    self.readout.fit_text_statistics(texts, num_background)
                else:
                    self.readout.set_contrast_texts(texts, num_background)

    @property
    def pixel_format(self) -> PixelFormat:
        """Pixel format of the data preprocessor. It is cached, because computing it waits for the device."""
        if self._pixel_format is None or self._pixel_format[0] is not self.data_preprocessor:
            # The tuple hides the preprocessor from `nn.Module`, which would register it twice.
            self._pixel_format = self.data_preprocessor, pixel_format_of(self.data_preprocessor)
        return self._pixel_format[1]

    def batch_of(self, inputs: Tensor, data_samples: Sequence) -> BatchView:
        """Make the `BatchView` of a preprocessed batch, with labels if a part needs the teacher's maps."""
        if not isinstance(inputs, Tensor):
            raise ValueError(
                f'{type(self).__name__} gets images as a {type(inputs).__name__}, but takes one tensor: use '
                'a data_preprocessor and a pipeline with one view of each image'
            )
        pixel_format = self.pixel_format if self.teacher_outputs else PixelFormat.raw()
        labels = self.concept_labels(data_samples, inputs.device) if 'maps' in self.teacher_outputs else None
        return BatchView.of(inputs, data_samples, pixel_format, labels)

    def concept_labels(self, data_samples: Sequence, device: torch.device) -> Tensor:
        """Return the concepts that each image is labelled with, (B, number of texts) in [0, 1]."""
        if any('gt_concepts' in sample for sample in data_samples):
            check_mixtures_recorded(self.data_preprocessor)
        part, num_texts = self.interactions, len(self.teacher.bank)
        presence_from_labels = part is not None and part.reading.presence == 'label'
        num_classes = self.family.num_classes(self)
        return concept_labels_of(
            self.family, data_samples, num_texts, num_classes, device, presence_from_labels
        )

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Any]:
        """Compute the task's losses and those of the supervision parts."""
        task_loss = partial(super().loss, **kwargs) if kwargs else super().loss
        batch = self.batch_of(inputs, data_samples)
        wants_features = bool({'vector', 'scores'} & self.student_outputs)
        if not self.supervision:
            with self._hide_padding(batch.valid_sizes):
                return self.family.loss(self, task_loss, batch, data_samples, wants_features)[0]
        first_step = self.training and not self._first_step_done
        part_targets = self.part_targets(batch)
        asked_queries = self._asked_queries(part_targets, 'scores' in self.student_outputs)
        with self.backbone.record_interactions(_join_queries(asked_queries), batch.valid_sizes) as record:
            losses, features = self.family.loss(self, task_loss, batch, data_samples, wants_features)
        states = _split_states(record.states, asked_queries)
        vector = scores = None
        if features is not None and 'vector' in self.student_outputs:
            vector = self.family.vector(features)
        if features is not None and 'scores' in self.student_outputs:
            scores = self.predict_by.scores(self, features, states['predict_by'])
        texts = self.teacher.text_embeddings if self.teacher_outputs else None
        has_task_losses = bool(losses)
        for name, part in self.parts.items():
            outputs = StudentOutputs(states[name], vector, scores, self.readout, texts)
            terms = part(outputs, part_targets[name])
            if shared := losses.keys() & terms.keys():
                raise ValueError(
                    f'supervision.{name} gives {min(shared)!r}, and so does another part or the task: switch '
                    'one of them off'
                )
            losses.update(terms)
        if not has_task_losses and features is not None:
            if first_step:
                check_losses_reach(self.backbone, features, losses.values())
            first = next(iter(losses))
            losses[first] = losses[first] + _zero_loss_of(features)
        return losses

    def part_targets(self, batch: BatchView) -> dict[str, Any]:
        """Make the target of each part, changed by the control; None for parts that need no teacher."""
        self.start_statistics()
        grid = StudentGrid.of(self.backbone, batch.size)
        teacher_targets = (
            self.teacher.targets(batch, grid, self.teacher_outputs) if self.teacher_outputs else None
        )
        if teacher_targets is not None and teacher_targets.class_scores is not None:
            # The classes are the bank's first concepts.
            teacher_targets = replace(
                teacher_targets, class_scores=teacher_targets.class_scores[:, : self.family.num_classes(self)]
            )
        if teacher_targets is not None and self.control is not None and self.training:
            teacher_targets = self.control.change_teacher_targets(teacher_targets, batch)
        part_targets = {}
        for name, part in self.parts.items():
            target = None
            if part.teacher_outputs and teacher_targets is not None:
                target = part.target_of(teacher_targets, batch, grid)
                if not self._first_step_done:
                    _check_target(part, target, batch)
                if self.control is not None and self.training:
                    target = self.control.change_part_target(name, part, target, len(self.teacher.bank))
            part_targets[name] = target
        self._first_step_done = True
        return part_targets

    def start_statistics(self) -> None:
        """Start the statistics of parts and control anew in the first iteration of a training.

        A checkpoint that training starts from has those of another training, and maybe contrast texts of
        another bank. A resumed training keeps its statistics. `NonFiniteHook` calls this before it saves
        them.
        """
        if self._first_step_done:
            return
        if self.training and is_first_iteration():
            for owner in (self.supervision, self.control):
                modules: Any = () if owner is None else owner.modules()
                for module in modules:
                    if hasattr(module, 'reset_statistics'):
                        module.reset_statistics()
        if self.readout is not None and self.teacher_outputs:
            self.readout.set_contrast_texts(self.teacher.text_embeddings, self.teacher.bank.num_background)

    def _asked_queries(
        self, part_targets: Mapping[str, Any], with_predict_by: bool
    ) -> dict[str, Tensor | None]:
        """Make the queries of each part by name. With `with_predict_by`, add those of `predict_by`."""
        asked_queries: dict[str, Tensor | None] = {}
        for name, part in self.parts.items():
            asked_queries[name] = None
            if self.readout is not None and part.teacher_outputs:
                asked_queries[name] = part.asked_queries(
                    self.readout, self.teacher.text_embeddings, part_targets[name]
                )
        if with_predict_by:
            asked_queries['predict_by'] = self.predict_by.asked_queries(self)
        return asked_queries

    @contextmanager
    def use_features(self, features: Any) -> Iterator[None]:
        """Context in which `extract_feat` returns these features, and the backbone does not run."""
        self._features = features
        try:
            yield
        finally:
            self._features = None

    def extract_feat(self, *args: Any, **kwargs: Any) -> Any:
        """Extract the task's features, or return those of `use_features`."""
        return super().extract_feat(*args, **kwargs) if self._features is None else self._features

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Run the task's model in a mode; `predict_by` handles mode 'tensor'."""
        if mode == 'tensor':
            return self.predict_by.tensor(self, inputs, partial(super().forward, mode=mode))
        return super().forward(inputs, data_samples, mode)

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any) -> Sequence:
        """Predict as `predict_by` says. Queries read no padding, as in training."""
        task_predict = partial(super().predict, **kwargs)
        if data_samples is None:
            return self.predict_by.predict(self, inputs, data_samples, task_predict)
        with self._hide_padding(get_valid_sizes(inputs, data_samples)):
            return self.predict_by.predict(self, inputs, data_samples, task_predict)

    def _hide_padding(self, valid_sizes: Sequence[tuple[int, int]]) -> AbstractContextManager:
        """Context in which queries read no padding. A backbone without queries is not changed."""
        return (
            self.backbone.hide_padding(valid_sizes)
            if hasattr(self.backbone, 'hide_padding')
            else nullcontext()
        )

    @property
    def interactions(self) -> Interactions | None:
        """Part that learns from interaction maps, or None."""
        return next((part for part in self.parts.values() if isinstance(part, Interactions)), None)

    @torch.no_grad()
    def ask(
        self, images: Tensor, texts: Tensor, valid_sizes: Sequence[tuple[int, int]] | None = None
    ) -> InteractionMaps:
        """Ask the student whether and where images show the things that texts name.

        Texts need not be in the concept bank; answers are best for texts similar to those of the training.
        The student answers in evaluation mode, and its mode is restored afterwards.

        Args:
            images: (B, 3, H, W), preprocessed images.
            texts: (M, E), unit embeddings by the text tower of the training's teacher.
            valid_sizes: height and width in pixels of each image without its padding, which is at the right
                and below. Defaults to None: no padding.

        Returns:
            Spatial maps, one for each pair of a text and a layer that training supervises, with the student's
            presence.

        Raises:
            ValueError: if the student has no read-out, or E is not `readout.text_dims`.
        """
        readout = self.require_readout()
        if texts.ndim != 2 or texts.shape[1] != readout.text_dims:
            raise ValueError(
                f'texts must be (M, E) with E = readout.text_dims = {readout.text_dims}, '
                f'got shape {tuple(texts.shape)}'
            )
        sizes = get_valid_sizes(images, None) if valid_sizes is None else valid_sizes
        asked_queries = readout.asked_queries(texts)
        with eval_mode(self), self.backbone.record_interactions(asked_queries, sizes) as record:
            self.backbone(images)
            return self.answers(record.states, images, texts, sizes)

    def require_readout(self) -> InteractionReadout:
        """Return the read-out.

        Raises:
            ValueError: if the student has none.
        """
        if self.readout is None:
            raise ValueError(
                f'{type(self).__name__} has no read-out to answer texts with: it learns no interactions'
            )
        return self.readout

    def answers(
        self,
        states: InteractionStates,
        images: Tensor,
        texts: Tensor,
        valid_sizes: Sequence[tuple[int, int]],
    ) -> InteractionMaps:
        """Compute the answers from the recorded states of a forward pass with the texts' queries.

        This method does not run the pass. `ask` runs it, and then calls this method.

        Args:
            states: recorded states of the forward pass.
            images: (B, 3, H, W), preprocessed images.
            texts: (M, E), unit embeddings of the texts.
            valid_sizes: height and width in pixels of each image without its padding.
        """
        b, m = len(images), len(texts)
        # `PredictBy.answers` reads the grid, concepts and valid locations of `layout`, but not its scores.
        blank = InteractionMaps(
            logits=images.new_zeros(b, 1, m, 1, 1, dtype=torch.float32),
            presence=images.new_ones(b, m, dtype=torch.float32),
            valid=torch.ones(b, 1, 1, dtype=torch.bool, device=images.device),
        )
        grid = StudentGrid.of(self.backbone, (images.shape[-2], images.shape[-1]))
        layout = maps_in_view(blank, grid, valid_sizes)
        return self.predict_by.answers(self, states, texts, layout)

    @torch.no_grad()
    def predict_interactions(
        self, inputs: Tensor, data_samples: Sequence
    ) -> tuple[InteractionMaps, InteractionMaps]:
        """Compute the maps of teacher and student for a batch: the same concepts on the same grid.

        The student answers in evaluation mode, as in `ask`. The control does not act.

        Raises:
            TypeError: if the student learns no interactions.
        """
        part, readout = self.require_interactions(), self.require_readout()
        with eval_mode(self):
            batch = self.batch_of(inputs, data_samples)
            grid = StudentGrid.of(self.backbone, batch.size)
            teacher_maps = part.target_of(
                self.teacher.targets(batch, grid, part.teacher_outputs), batch, grid
            )
            asked_queries = readout.asked_queries(self.teacher.text_embeddings, teacher_maps.concepts)
            with self.backbone.record_interactions(asked_queries, batch.valid_sizes) as record:
                self.backbone(inputs)
            answers = self.predict_by.answers(self, record.states, self.teacher.text_embeddings, teacher_maps)
            return teacher_maps, answers

    @torch.no_grad()
    def teacher_answers(
        self,
        images: Tensor,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
        labels: Tensor | None = None,
    ) -> tuple[InteractionMaps, InteractionMaps]:
        """Compute the teacher's maps on the student's grid, with the training's reading.

        In training, labels set the presence of their concepts to 1, and the control changes the maps. Neither
        happens here.

        Args:
            images: (B, 3, H, W), preprocessed images.
            valid_sizes: height and width in pixels of each image without its padding. Defaults to None: no
                padding.
            labels: (B, C) in [0, 1], concepts that each image is labelled with. A training step asks about
                these concepts first. Defaults to None: no labels.

        Returns:
            The maps of all concepts of the bank, and those of the concepts that a training step asks about.

        Raises:
            TypeError: if the student reads a cache, or learns no interactions.
        """
        reading = self.require_interactions().reading
        sizes = get_valid_sizes(images, None) if valid_sizes is None else valid_sizes
        grid = StudentGrid.of(self.backbone, (images.shape[-2], images.shape[-1]))
        teacher = self.online_teacher
        maps = teacher.maps_of_bank(images, self.pixel_format, sizes)
        all_maps, asked_maps = (
            reading(maps_in_view(raw_maps, grid, sizes))
            for raw_maps in (maps, teacher.select_concepts(maps, labels))
        )
        return all_maps, asked_maps

    def require_interactions(self) -> Interactions:
        """Return the part that learns from interaction maps.

        Raises:
            TypeError: if the student has none.
        """
        if self.interactions is None:
            raise TypeError(f'{type(self).__name__} learns no interactions: it has no lfi.Interactions')
        return self.interactions


def student_class(task: str | None) -> type[Student]:
    """Return the student class of a task: a subclass of `Student` and the task model's class.

    Args:
        task: registered type of the task's model. None: mmpretrain's `ImageClassifier`, for pretraining.

    Raises:
        ValueError: if the type is not registered, belongs to no known family, or takes an argument that
            `Student` adds.
    """
    if task is None:
        task = 'mmpretrain.ImageClassifier'
    kind = MODELS.get(task) if isinstance(task, str) and task else task
    if not isinstance(kind, type):
        raise ValueError(f'task={task!r} is not a registered model; give its scope too, as in mmdet.MaskRCNN')
    if issubclass(kind, Student):
        raise ValueError(f'task={task!r} is a student already: name the model of the task alone')
    if task_of(kind) is None:
        families = ', '.join(f"{family.package}'s {family.base}" for family in TASKS)
        raise ValueError(
            f'task={task!r} is of no known family of tasks: a student inherits from {families}, '
            'or from the base of a family of your own, as docs/extend.md shows'
        )
    taken = [
        name for name in ('task', *ADDED_ARGUMENTS) if name in inspect.signature(kind.__init__).parameters
    ]
    if taken:
        raise ValueError(
            f'task={task!r} takes an argument {taken[0]!r} of its own, which a student has too: rename it '
            'in a subclass'
        )
    student: type[Student] = class_with_mixin('Student', Student, kind)
    return student


def _require_one_backbone(model: nn.Module) -> None:
    """Raise a ValueError unless a task's model has exactly one backbone."""
    names = [name for name, _ in model.named_children() if 'backbone' in name]
    if names != ['backbone']:
        raise ValueError(
            f'{type(model).__name__} has {", ".join(names) or "no backbone"}: a student needs a task whose '
            "model has one backbone, named 'backbone'. If the task's model wraps another model, set task to "
            "the inner model's type"
        )


def _join_queries(queries_by_name: Mapping[str, Tensor | None]) -> Tensor | None:
    """Join the queries of all names, (B, M, C) or (M, C); None if there are none."""
    queries = [tensor for tensor in queries_by_name.values() if tensor is not None]
    if len(queries) < 2:
        return queries[0] if queries else None
    batch_size = next((len(tensor) for tensor in queries if tensor.ndim == 3), None)
    if batch_size is None:
        return torch.cat(queries)
    batched = [tensor if tensor.ndim == 3 else tensor.expand(batch_size, -1, -1) for tensor in queries]
    return torch.cat(batched, 1)


def _split_states(
    states: InteractionStates, queries_by_name: Mapping[str, Tensor | None]
) -> dict[str, InteractionStates]:
    """Split the states of a pass by the names whose queries `_join_queries` joined."""
    states_by_name, start = {}, 0
    for name, queries in queries_by_name.items():
        number = 0 if queries is None else queries.shape[-2]
        states_by_name[name] = states.select_queries(start, number)
        start += number
    return states_by_name


def _check_target(part: SupervisionPart, target: Any, batch: BatchView) -> None:
    """Check the target of a part; an error names the images of the batch."""
    try:
        part.check_target(target)
    except ValueError as error:
        raise ValueError(
            f"the teacher's maps: {error}. The batch's images, in order: {batch.names}"
        ) from error


def _zero_loss_of(features: Sequence[Tensor]) -> Tensor:
    """Return a loss of 0 that depends on all features, so that each layer gets a gradient, as DDP needs.

    Args:
        features: outputs of the backbone.
    """
    return torch.cat([output[:0].flatten() for output in features]).sum()
