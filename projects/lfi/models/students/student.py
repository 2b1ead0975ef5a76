"""The student: a task's model that learns from a teacher by parts."""

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
from lfi.models.batches.mixtures import mixes_recorded, refuse_unmixable, refuse_unrecorded_mixtures
from lfi.models.batches.pixel_format import pixel_format
from lfi.models.batches.raw_images import check_images, correct_image_sizes
from lfi.models.readout import InteractionReadout
from lfi.models.supervision import Interactions, StudentOutputs, StudentWidths, SupervisionPart
from lfi.models.teachers import Teacher, VLMAttentionTeacher, build_teacher, text_dims_of
from lfi.registry import MODELS
from lfi.structures import (
    BatchView,
    InteractionMaps,
    PixelFormat,
    StudentGrid,
    maps_in_view,
    valid_sizes_of,
)
from lfi.utils.modules import eval_mode, mixed_class
from lfi.utils.options import check_options

from .freezing import freeze_unread
from .labels import concept_labels
from .parts import (
    asks,
    build_control,
    build_predict_by,
    build_readout,
    build_supervision,
    check_contrast_weight,
    check_teacher,
    check_trained,
    needs_of,
    reads_of,
)
from .tasks import TASKS, task_of
from .tasks.pretraining import Pretraining

if TYPE_CHECKING:

    class _TaskModel(BaseModel):
        """The task's model, the next class after `Student`."""

        backbone: Any
        head: Any

        def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Any]: ...

        def predict(self, inputs: Tensor, data_samples: Sequence | None, **kwargs: Any) -> Sequence: ...

        def extract_feat(self, *args: Any, **kwargs: Any) -> Any: ...

else:
    _TaskModel = object

ARGUMENTS = ('teacher', 'readout', 'supervision', 'control', 'predict_by')
"""What a student adds to the arguments of its task's model."""


@MODELS.register_module()
class Student(_TaskModel):
    """A model of any task that also learns by supervision parts, most of which compare it with a teacher.

    `dict(type='lfi.Student', task='mmdet.RTMDet', backbone=..., ...)` builds a `StudentRTMDet`: a subclass of
    the task model's class, with the same arguments, names of parameters, predictions and hooks.

    In a training step the teacher is asked first; the student runs once, with a query for each concept that a
    part asks about; the task's own loss takes the images that have a label; and each part compares the
    student with its target. The teacher is built when training begins, and never for testing; `ask` needs no
    teacher.

    Args:
        task: the registered type of the task's model, with its scope. It has one backbone, which gets one
            image tensor. Defaults to None: a backbone alone, which is pretrained.
        teacher: config of a teacher that `lfi.registry.TEACHERS` knows. Its `cache` names a folder that
            `lfi cache` wrote, which is read instead of running the teacher. Defaults to None: no teacher.
        readout: arguments of the `InteractionReadout`, by which the student answers texts. `text_dims`
            defaults to what the teacher's config says. Defaults to None: a read-out with default arguments
            if a part or `predict_by` uses it, and otherwise no read-out.
        supervision: your own names, and the config of a part for each. None in place of a config switches a
            part off. Parts run in the order of their names. Defaults to None: the task's loss alone.
        control: config of a negative control, which acts in training. Defaults to None.
        predict_by: config of what predicts: `lfi.ByHead`, `lfi.ByTexts`. Defaults to None: the task model's
            own way; without a task `lfi.ByFeatures`.
        **kwargs: the task model's own.

    Raises:
        ValueError: if the task's model does not fit; for an unknown part, one that needs what is not there,
            or a control that changes nothing; the message names the option and what to write.
        TypeError: if a part or a read-out needs a backbone that can be asked, and this one cannot.
    """

    readout: InteractionReadout | None
    _teacher: Teacher | None = None
    _pixels: tuple[nn.Module, PixelFormat] | None = None
    _features: Any = None
    # Targets are checked once: a check waits for the device.
    _targets_checked = False

    def __new__(cls, *args: Any, task: str | None = None, **kwargs: Any) -> Student:
        """An instance of the class for the task's model."""
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
        kind = Pretraining if task is None else task_of(type(self))
        assert kind is not None
        self.family = kind()
        correct_image_sizes(self.data_preprocessor)
        self.family.set_up(self)
        for name, option in (('teacher', teacher), ('readout', readout)):
            if option is not None:
                check_options(**{name: option})
        cache = None if teacher is None else teacher.get('cache')
        if not isinstance(cache, str | PathLike | None):
            raise ValueError(f'teacher.cache={cache!r} must be a folder, or None to ask the teacher')
        self.predict_by = build_predict_by(predict_by, self.family.predicts_by)
        self.teacher_cfg = None if teacher is None else self.predict_by.teacher_of(teacher)
        parts = build_supervision({} if supervision is None else supervision, self.family, self.teacher_cfg)
        if parts or readout is not None or asks(parts, self.predict_by):
            self._require_asked_backbone()
        width = getattr(self.backbone, 'query_dims', 0)
        self.readout = build_readout(readout, parts, self.predict_by, width, self._text_dims)
        widths = StudentWidths(*self._widths(), self._text_dims)
        for part in parts.values():
            part.build_heads(widths)
        self.supervision = nn.ModuleDict(parts)
        self.control = build_control(control, parts)
        self.needs = needs_of(parts.values())
        if self.needs:
            check_images(self.data_preprocessor, self.teacher_config.get('cache'))
        self.reads = reads_of(parts, self.predict_by)
        check_contrast_weight(self.readout, self.reads)
        freeze_unread(self.backbone, self.readout, self.reads)
        self.predict_by.check(self)

    def _text_dims(self) -> int:
        """The width of the teacher's text space, by its config."""
        readout = getattr(self, 'readout', None)
        if readout is not None:
            return int(readout.text_dims)
        if self.teacher_cfg is None:
            raise ValueError(
                'readout.text_dims is not known without model.teacher: set it to the width of the text space'
            )
        return text_dims_of(self.teacher_cfg)

    def _widths(self) -> tuple[int, int]:
        """The widths of tokens and of the pooled vector."""
        tokens = getattr(self.backbone, 'query_dims', 0)
        vector = getattr(getattr(self, 'head', None), 'in_channels', None)
        return tokens, vector if isinstance(vector, int) else tokens

    def _require_asked_backbone(self) -> None:
        if not hasattr(self.backbone, 'record_interactions'):
            raise TypeError(
                f'{type(self).__name__} needs an lfi.InteractionQueryViT as backbone, or another one in an '
                f'lfi.InteractionQueryAdapter; got {type(self.backbone).__name__}'
            )

    @property
    def parts(self) -> dict[str, SupervisionPart]:
        """The supervision parts by name, in the order in which they run: that of their names."""
        parts: Any = self.supervision
        return dict(sorted(parts.items()))

    @property
    def learnt(self) -> frozenset[str]:
        """What losses of a weight above 0 read of the student."""
        learning = {name: part for name, part in self.parts.items() if part.learns}
        return reads_of(learning, self.predict_by)

    @property
    def teacher(self) -> Teacher:
        """The teacher; building it loads its weights and embeds the concepts, or opens the cache.

        Raises:
            TypeError: if the student has none.
        """
        if self._teacher is None:
            config = self.teacher_config
            teacher = build_teacher(config, self.needs)
            text_dims = None if self.readout is None else self.readout.text_dims
            check_teacher(teacher, self.parts, text_dims, self.family.num_classes(self))
            if config.get('cache') is not None and mixes_recorded(self.data_preprocessor):
                refuse_unmixable(teacher.directions)
            self._teacher = teacher
        return self._teacher

    @property
    def teacher_config(self) -> Mapping[str, Any]:
        """The config of the teacher.

        Raises:
            TypeError: if the student has none.
        """
        if self.teacher_cfg is None:
            raise TypeError(f'{type(self).__name__} has no teacher: set model.teacher')
        return self.teacher_cfg

    @property
    def has_teacher(self) -> bool:
        """Whether the teacher is built."""
        return self._teacher is not None

    @property
    def online_teacher(self) -> VLMAttentionTeacher:
        """The teacher that is asked online.

        Raises:
            TypeError: if the student reads a cache.
        """
        cache = self.teacher_config.get('cache')
        if cache is not None:
            raise TypeError(f'model.teacher.cache={cache!r} stands in for the teacher: set it to None')
        if not isinstance(self.teacher, VLMAttentionTeacher):
            raise TypeError(
                f'{type(self.teacher).__name__} does not say what it sees of all concepts: take a '
                'VLMAttentionTeacher'
            )
        return self.teacher

    def check_training(self) -> None:
        """Check that all that will predict is trained, before a teacher or a cache is opened.

        Raises:
            ValueError: if something is not; the message names the option and what to write.
        """
        self.family.check_training(self)
        self.predict_by.check_training(self)
        check_trained(self.readout, self.learnt)
        cache = (self.teacher_cfg or {}).get('cache')
        if cache is not None and not self.needs:
            raise ValueError(
                f'model.teacher.cache={cache!r} is read by no supervision part: set it to None, or give a '
                'part that needs the teacher'
            )

    def init_weights(self) -> None:
        """Initialise the task's model; build the teacher, or open its cache; set the read-out's texts."""
        super().init_weights()
        # The Runner calls this before training only: a missing teacher is known before the first step.
        self.check_training()
        if self.needs:
            _ = self.teacher, self.pixels
            if self.readout is not None:
                self.readout.fit_text_statistics(self.teacher.texts, self.teacher.bank.num_background)

    @property
    def pixels(self) -> PixelFormat:
        """How the data preprocessor makes its pixels; read once, for that waits for the device."""
        if self._pixels is None or self._pixels[0] is not self.data_preprocessor:
            # The tuple hides the preprocessor from `nn.Module`, which would register it twice.
            self._pixels = self.data_preprocessor, pixel_format(self.data_preprocessor)
        return self._pixels[1]

    def view_of(self, inputs: Tensor, data_samples: Sequence) -> BatchView:
        """What a preprocessed batch says of its images; labels only where maps are read."""
        if not isinstance(inputs, Tensor):
            raise ValueError(
                f'{type(self).__name__} gets {type(inputs).__name__} of images, and a student takes one '
                'tensor: use a data_preprocessor, and a pipeline, of one view of each image'
            )
        pixels = self.pixels if self.needs else PixelFormat.raw()
        labels = self.concept_labels(data_samples, inputs.device) if 'maps' in self.needs else None
        return BatchView.of(inputs, data_samples, pixels, labels)

    def concept_labels(self, data_samples: Sequence, device: torch.device) -> Tensor:
        """The images' labels among the concepts, (B, C); errors as of `lfi.models.students.labels`."""
        if any('gt_concepts' in sample for sample in data_samples):
            refuse_unrecorded_mixtures(self.data_preprocessor)
        part, num_texts = self.interactions, len(self.teacher.bank)
        only_labels = part is not None and part.reading.presence == 'label'
        num_classes = self.family.num_classes(self)
        return concept_labels(self.family, data_samples, num_texts, num_classes, device, only_labels)

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Any]:
        """The task's losses, joined by those of the supervision parts."""
        own = partial(super().loss, **kwargs) if kwargs else super().loss
        view = self.view_of(inputs, data_samples)
        reads = self.reads
        wants_features = bool({'vector', 'scores'} & reads)
        if not self.supervision:
            with self._padded(view.valid_sizes):
                return self.family.loss(self, own, view, data_samples, wants_features)[0]
        targets = self.part_targets(view)
        questions = self._questions(targets, 'scores' in reads)
        with self.backbone.record_interactions(_joined(questions), view.valid_sizes) as record:
            losses, features = self.family.loss(self, own, view, data_samples, wants_features)
        states = _split(record.states, questions)
        vector = scores = None
        if features is not None and 'vector' in reads:
            vector = self.family.vector(features)
        if features is not None and 'scores' in reads:
            scores = self.predict_by.scores(self, features, states['predict_by'])
        texts = self.teacher.texts if self.needs else None
        has_task = bool(losses)
        for name, part in self.parts.items():
            outputs = StudentOutputs(states[name], vector, scores, self.readout, texts)
            terms = part(outputs, targets[name])
            if twice := losses.keys() & terms.keys():
                raise ValueError(
                    f'supervision.{name} gives {min(twice)!r}, which another part or the task gives too: one '
                    'of them is enough'
                )
            losses.update(terms)
        if not has_task and features is not None:
            first = next(iter(losses))
            losses[first] = losses[first] + _unread(features)
        return losses

    def part_targets(self, view: BatchView) -> dict[str, Any]:
        """What each part learns towards, after the control; None for parts without a teacher."""
        grid = StudentGrid.of(self.backbone, view.size)
        said = self.teacher.targets(view, grid, self.needs) if self.needs else None
        if said is not None and said.class_scores is not None:
            # The classes are the bank's first concepts.
            said = replace(said, class_scores=said.class_scores[:, : self.family.num_classes(self)])
        if said is not None and self.control is not None and self.training:
            said = self.control.change_targets(said, view)
        read = {}
        for name, part in self.parts.items():
            target = None
            if part.needs and said is not None:
                target = part.target_of(said, view, grid)
                if not self._targets_checked:
                    _check(part, target, view)
                if self.control is not None and self.training:
                    target = self.control.change_target(name, part, target, len(self.teacher.bank))
            read[name] = target
        if not self._targets_checked and self.readout is not None and self.needs:
            # A checkpoint from which training began may have brought those of another bank.
            self.readout.set_contrast_texts(self.teacher.texts, self.teacher.bank.num_background)
        self._targets_checked = True
        return read

    def _questions(self, targets: Mapping[str, Any], with_scores: bool) -> dict[str, Tensor | None]:
        """What the backbone is asked, by asker: the name of a part, or `predict_by`."""
        asked: dict[str, Tensor | None] = {}
        for name, part in self.parts.items():
            asked[name] = None
            if self.readout is not None and part.needs:
                asked[name] = part.questions(self.readout, self.teacher.texts, targets[name])
        if with_scores:
            asked['predict_by'] = self.predict_by.questions(self)
        return asked

    @contextmanager
    def use_features(self, features: Any) -> Iterator[None]:
        """While it is open, the task gets these features, and the backbone does not run."""
        self._features = features
        try:
            yield
        finally:
            self._features = None

    def extract_feat(self, *args: Any, **kwargs: Any) -> Any:
        """The task's features, or those that `use_features` set."""
        return super().extract_feat(*args, **kwargs) if self._features is None else self._features

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """As of the task's model; mode 'tensor' gives what `predict_by` has for it."""
        if mode == 'tensor':
            return self.predict_by.tensor(self, inputs, partial(super().forward, mode=mode))
        return super().forward(inputs, data_samples, mode)

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any) -> Sequence:
        """The predictions; queries read no padding, as in training."""
        own = partial(super().predict, **kwargs)
        if data_samples is None:
            return self.predict_by.predict(self, inputs, data_samples, own)
        with self._padded(valid_sizes_of(inputs, data_samples)):
            return self.predict_by.predict(self, inputs, data_samples, own)

    def _padded(self, valid_sizes: Sequence[tuple[int, int]]) -> AbstractContextManager:
        """While it is open, queries read no padding; backbones without queries are left alone."""
        return self.backbone.padded(valid_sizes) if hasattr(self.backbone, 'padded') else nullcontext()

    @property
    def interactions(self) -> Interactions | None:
        """The part that learns from interaction maps, or None."""
        return next((part for part in self.parts.values() if isinstance(part, Interactions)), None)

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
            Spatial maps, one for each text at each supervised layer, with the student's own presence.

        Raises:
            ValueError: if the student has no read-out, or the texts are not as wide as `readout.text_dims`.
        """
        readout = self.require_readout()
        if texts.ndim != 2 or texts.shape[1] != readout.text_dims:
            raise ValueError(
                f'texts must be (M, E) with E = readout.text_dims = {readout.text_dims}, '
                f'got shape {tuple(texts.shape)}'
            )
        sizes = valid_sizes_of(images, None) if valid_sizes is None else valid_sizes
        questions = readout.questions(texts)
        with eval_mode(self), self.backbone.record_interactions(questions, sizes) as record:
            self.backbone(images)
            return self.answers(record.states, images, texts, sizes)

    def require_readout(self) -> InteractionReadout:
        """The read-out.

        Raises:
            ValueError: if the student has none.
        """
        if self.readout is None:
            raise ValueError(
                f'{type(self).__name__} has no read-out to answer texts by: it learns no interactions'
            )
        return self.readout

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
            texts: (M, E), as `ask` has them.
            valid_sizes: as `ask` has them.
        """
        b, m = len(images), len(texts)
        blank = InteractionMaps(
            logits=images.new_zeros(b, 1, m, 1, 1, dtype=torch.float32),
            presence=images.new_ones(b, m, dtype=torch.float32),
            valid=torch.ones(b, 1, 1, dtype=torch.bool, device=images.device),
        )
        grid = StudentGrid.of(self.backbone, (images.shape[-2], images.shape[-1]))
        like = maps_in_view(blank, grid, valid_sizes)
        return self.predict_by.answers(self, states, texts, like)

    @torch.no_grad()
    def predict_interactions(
        self, inputs: Tensor, data_samples: Sequence
    ) -> tuple[InteractionMaps, InteractionMaps]:
        """Teacher's and student's spatial maps of a batch, of the same concepts on the same grid.

        In training mode they are those of evaluation mode, as `ask` says; a negative control changes none.

        Raises:
            TypeError: if the student learns no interactions.
        """
        part, readout = self.require_interactions(), self.require_readout()
        with eval_mode(self):
            view = self.view_of(inputs, data_samples)
            grid = StudentGrid.of(self.backbone, view.size)
            teacher = part.target_of(self.teacher.targets(view, grid, part.needs), view, grid)
            questions = readout.questions(self.teacher.texts, teacher.concepts)
            with self.backbone.record_interactions(questions, view.valid_sizes) as record:
                self.backbone(inputs)
            return teacher, self.predict_by.answers(self, record.states, self.teacher.texts, teacher)

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
            valid_sizes: as `ask` has them.
            labels: (B, C) in [0, 1], the images' labels among the concepts: a step of training asks about
                these first. Defaults to None, none is known.

        Returns:
            The maps of all concepts of the bank; and of those that a step of training asks about.

        Raises:
            TypeError: if the student reads a cache, or learns no interactions.
        """
        reading = self.require_interactions().reading
        sizes = valid_sizes_of(images, None) if valid_sizes is None else valid_sizes
        grid = StudentGrid.of(self.backbone, (images.shape[-2], images.shape[-1]))
        teacher = self.online_teacher
        maps = teacher.maps_of_all(images, self.pixels, sizes)
        every, asked = (
            reading(maps_in_view(each, grid, sizes)) for each in (maps, teacher.asked(maps, labels))
        )
        return every, asked

    def require_interactions(self) -> Interactions:
        """The part that learns from interaction maps.

        Raises:
            TypeError: if the student has none.
        """
        if self.interactions is None:
            raise TypeError(f'{type(self).__name__} learns no interactions: it has no lfi.Interactions')
        return self.interactions


def student_class(task: str | None) -> type[Student]:
    """The class of a task's students: one for each, with `Student` before the task model's class.

    Args:
        task: as `Student` has it.

    Raises:
        ValueError: if the type is not registered, is of no known family, or takes an argument that the
            student has.
    """
    if task is None:
        task = 'mmpretrain.ImageClassifier'
    kind = MODELS.get(task) if isinstance(task, str) and task else task
    if not isinstance(kind, type):
        raise ValueError(f'task={task!r} is not a registered model; give its scope too, as in mmdet.MaskRCNN')
    if issubclass(kind, Student):
        raise ValueError(f'task={task!r} is a student already: name the model of the task alone')
    if task_of(kind) is None:
        known = ', '.join(f"{each.package}'s {each.base}" for each in TASKS)
        raise ValueError(
            f'task={task!r} is of no known family of tasks: a student is a model that inherits from {known}, '
            'or from the base of a family of your own, as docs/extend.md shows'
        )
    taken = [name for name in ('task', *ARGUMENTS) if name in inspect.signature(kind.__init__).parameters]
    if taken:
        raise ValueError(
            f'task={task!r} takes an argument {taken[0]!r} of its own, which a student has too: rename it '
            'in a subclass'
        )
    found: type[Student] = mixed_class('Student', Student, kind)
    return found


def _require_one_backbone(model: nn.Module) -> None:
    """Raise a ValueError if a task's model has no backbone, or several."""
    named = [name for name, _ in model.named_children() if 'backbone' in name]
    if named != ['backbone']:
        raise ValueError(
            f'{type(model).__name__} has {", ".join(named) or "no backbone"}: a student needs a task whose '
            "model has one backbone, named 'backbone'; of a model inside another name the inner one's type"
        )


def _joined(questions: Mapping[str, Tensor | None]) -> Tensor | None:
    """The questions of all who ask, (B, M, C) or (M, C)."""
    asked = [each for each in questions.values() if each is not None]
    if len(asked) < 2:
        return asked[0] if asked else None
    images = next((len(each) for each in asked if each.ndim == 3), None)
    if images is None:
        return torch.cat(asked)
    return torch.cat([each if each.ndim == 3 else each.expand(images, -1, -1) for each in asked], 1)


def _split(states: InteractionStates, questions: Mapping[str, Tensor | None]) -> dict[str, InteractionStates]:
    """The states of a pass with the answers to each one's own questions."""
    found, start = {}, 0
    for name, asked in questions.items():
        number = 0 if asked is None else asked.shape[-2]
        found[name] = states.of_questions(start, number)
        start += number
    return found


def _check(part: SupervisionPart, target: Any, view: BatchView) -> None:
    """Check a part's target of a batch; an error names its images."""
    try:
        part.check_target(target)
    except ValueError as error:
        raise ValueError(
            f"the teacher's maps: {error}. The batch's images, in order: {view.names}"
        ) from error


def _unread(features: Sequence[Tensor]) -> Tensor:
    """Zero, with gradients of 0 for what no loss reads, as the norms of outputs: DDP wants all gradients.

    Args:
        features: the backbone's outputs.
    """
    return torch.cat([output[:0].flatten() for output in features]).sum()
