"""Builders of a student's components from their configs, and checks that components fit together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from torch import nn

from lfi.models.controls import Control
from lfi.models.readout import InteractionReadout, check_text_dims
from lfi.models.supervision import Interactions, SupervisionPart
from lfi.models.teachers import Teacher
from lfi.registry import MODELS, build_component

from .predict_by import PredictBy
from .tasks import Task


def build_supervision(
    supervision: Any, task: Task | type[Task], teacher: Mapping | None
) -> dict[str, SupervisionPart]:
    """Build supervision parts without their heads, sorted by name.

    Args:
        supervision: configs by name; None switches a part off.
        task: task family of the student.
        teacher: config of the teacher, or None.

    Raises:
        ValueError: if `supervision` is no dict of configs, a type is no part, or a part lacks the teacher or
            the output that it needs.
    """
    if not isinstance(supervision, Mapping):
        raise ValueError(
            f'supervision={supervision!r} must be a dict of parts by name, such as '
            "dict(interactions=dict(type='lfi.Interactions'))"
        )
    parts: dict[str, SupervisionPart] = {}
    for name in sorted(supervision, key=str):
        config = supervision[name]
        if config is None:
            continue
        parts[name] = part = _build_part(name, config)
        if part.teacher_outputs and teacher is None:
            raise ValueError(
                f'supervision.{name} needs a teacher: set model.teacher, or supervision.{name}=None'
            )
        kind = Interactions if isinstance(part, Interactions) else type(part)
        same_kind = [other for other in parts if isinstance(parts[other], kind)]
        if len(same_kind) > 1:
            raise ValueError(
                f'supervision.{same_kind[0]} and supervision.{name} are both lfi.{kind.__name__}, and their '
                'losses have the same names: switch one of them off'
            )
        missing = sorted(({'vector', 'scores'} & part.student_outputs) - task.provides)
        if missing:
            raise ValueError(
                f"supervision.{name}.type={type(part).__name__} reads the image's {missing[0]}, which the "
                f'task does not give: set supervision.{name}=None'
            )
    return parts


def _build_part(name: str, config: Any) -> SupervisionPart:
    option = f'supervision.{name}'
    reserved = name == 'predict_by' or hasattr(nn.ModuleDict(), str(name))
    if not isinstance(name, str) or not name.isidentifier() or reserved:
        raise ValueError(
            f'supervision has a part named {name!r}. The name is reserved, or is not made of letters, digits '
            'and _: choose another'
        )
    part: SupervisionPart = build_subclass(option, config, SupervisionPart)
    return part


def check_head(head: nn.Module | None, parts: Mapping[str, SupervisionPart]) -> None:
    """Raise a ValueError if a part cannot teach a classifier with a head; None if the task has no head."""
    for name, part in parts.items():
        try:
            part.check_head(head)
        except ValueError as error:
            raise ValueError(f'supervision.{name}: {error}') from error


def build_predict_by(predict_by: Any, default: str) -> PredictBy:
    """Build the component by which a student predicts.

    Args:
        predict_by: config, or None.
        default: type of the component if `predict_by` is None.

    Raises:
        ValueError: if the config has no type, or the type is unknown.
    """
    config = {'type': default} if predict_by is None else predict_by
    built: PredictBy = build_subclass('predict_by', config, PredictBy)
    return built


def needs_readout(parts: Mapping[str, SupervisionPart], predict_by: PredictBy) -> bool:
    """Whether a part or `predict_by` uses the student's read-out."""
    return predict_by.needs_readout or any(isinstance(part, Interactions) for part in parts.values())


def build_readout(
    readout: Mapping | None,
    parts: Mapping[str, SupervisionPart],
    predict_by: PredictBy,
    query_dims: int,
    text_dims: Callable[[], int],
) -> InteractionReadout | None:
    """Build the read-out of a student; None if nothing uses it and no arguments are given.

    Args:
        readout: arguments of the read-out, or None.
        parts: supervision parts of the student.
        predict_by: component by which the student predicts.
        query_dims: width of the student's tokens and queries.
        text_dims: function that returns the width of the text space, called if `readout` does not state it.
    """
    if readout is None and not needs_readout(parts, predict_by):
        return None
    arguments = dict(readout or {})
    if arguments.setdefault('embed_dims', query_dims) != query_dims:
        raise ValueError(
            f'readout.embed_dims={arguments["embed_dims"]!r} must be the width of the '
            f'backbone, {query_dims}: leave it out'
        )
    defaults: dict[str, Any] = {}
    for part in parts.values():
        defaults.update(part.readout_defaults)
    if arguments.get('text_dims') is None:
        arguments['text_dims'] = text_dims()
    built: InteractionReadout = build_component(
        'readout', arguments, type='lfi.InteractionReadout', **defaults
    )
    return built


def check_contrast_weight(readout: InteractionReadout | None, outputs: Collection[str]) -> None:
    """Raise a ValueError if answers are weighed by semantic scores that no part trains."""
    if (
        readout is not None
        and readout.contrast_weight
        and outputs
        and not {'concept_scores', 'presence'} & {*outputs}
    ):
        raise ValueError(
            f'readout.contrast_weight={readout.contrast_weight} weighs answers by the semantic scores, and '
            'no loss trains these scores: semantic_weight and presence_weight of lfi.Interactions are 0. Set '
            'readout.contrast_weight=0'
        )


def check_readout_trained(readout: InteractionReadout | None, outputs: Collection[str]) -> None:
    """Raise a ValueError if there is a read-out that no part trains."""
    if readout is not None and not {'attention', 'concept_scores', 'presence'} & {*outputs}:
        raise ValueError(
            'readout is given, but no supervision part trains it, so its answers would be random: set '
            'readout=None'
        )


def student_outputs_of(parts: Mapping[str, SupervisionPart], predict_by: PredictBy) -> frozenset[str]:
    """Outputs of a student that parts read and thereby train."""
    outputs: frozenset[str] = frozenset().union(*(part.student_outputs for part in parts.values()))
    if 'scores' in outputs and predict_by.needs_readout:
        outputs |= {'presence'}
    return outputs


def build_subclass(option: str, config: Any, base: type) -> Any:
    """Build the component that an option of a student configures.

    Args:
        option: name of the option, for errors.
        config: `dict(type=..., ...)`.
        base: class from which the type must inherit.

    Raises:
        ValueError: if the config has no type, or its type is unknown or no subclass of `base`.
        TypeError, ValueError: from the type's constructor, with the option before the message.
    """
    type_names = sorted(
        f'lfi.{name}'
        for name, kind in MODELS.module_dict.items()
        if isinstance(kind, type) and issubclass(kind, base) and kind.__module__.startswith('lfi.')
    )
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(
            f'{option}={config!r} must be a config with a type, such as dict(type={type_names[0]!r}), or '
            f'None; types are {type_names}'
        )
    name = config['type']
    kind = MODELS.get(name) if isinstance(name, str) else name
    if not (isinstance(kind, type) and issubclass(kind, base)):
        fault = 'unknown' if kind is None else f'no {base.__name__}'
        raise ValueError(f'{option}.type={name!r} is {fault}; choose from {type_names}')
    try:
        return kind(**{name: value for name, value in config.items() if name not in ('type', '_scope_')})
    except (TypeError, ValueError) as error:
        raise type(error)(f'{option}: {error}') from error


def build_control(control: Mapping | None, parts: Mapping[str, SupervisionPart]) -> Control | None:
    """Build a negative control.

    Args:
        control: config, or None.
        parts: supervision parts of the student.

    Raises:
        ValueError: if the control does not change the target of every part that needs the teacher.
    """
    if control is None:
        return None
    built: Control = build_subclass('control', control, Control)
    teacher_parts = {name: part for name, part in parts.items() if part.teacher_outputs}
    unchanged = [name for name, part in teacher_parts.items() if not (part.learns and built.changes(part))]
    if unchanged or not teacher_parts:
        reads = f'supervision.{unchanged[0]} reads' if unchanged else 'a part reads: no part needs a teacher'
        raise ValueError(
            f'control={type(built).__name__} changes nothing that {reads}: take another control, '
            'or control=None'
        )
    built.set_up(teacher_parts)
    return built


def teacher_outputs_of(parts: Iterable[SupervisionPart]) -> frozenset[str]:
    """Fields of `Targets` that any of the parts needs."""
    return frozenset().union(*(part.teacher_outputs for part in parts))


def check_teacher(
    teacher: Teacher,
    parts: Mapping[str, SupervisionPart],
    text_dims: int | None,
    num_classes: int | None,
) -> None:
    """Check that a teacher fits the read-out, the head and the parts.

    Args:
        teacher: teacher, or its cache.
        parts: supervision parts of the student, by name.
        text_dims: width of the read-out's text space; None without a read-out.
        num_classes: number of classes of the head; None if the task has no single number.

    Raises:
        ValueError: if the teacher does not fit; the message names the option.
    """
    if text_dims is not None:
        check_text_dims(text_dims, teacher.text_embeddings.shape[1])
    num_concepts = teacher.bank.num_concepts
    if (num_classes or 0) > num_concepts:
        raise ValueError(
            f'head.num_classes={num_classes}, but the teacher has {num_concepts} concepts: '
            'teacher.concepts must begin with every class'
        )
    for name, part in parts.items():
        try:
            part.check_teacher(teacher)
        except ValueError as error:
            raise ValueError(f'supervision.{name}: {error}') from error
