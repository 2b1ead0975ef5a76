"""From configs to the parts that a student learns from, and their checks against one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from lfi.models.controls import Control
from lfi.models.readout import check_text_dims
from lfi.models.supervision import SupervisionPart
from lfi.models.teachers import Teacher
from lfi.registry import MODELS, build_part

from .tasks import Task


def build_supervision(
    supervision: Any, task: Task | type[Task], teacher: Mapping | None
) -> dict[str, SupervisionPart]:
    """Build supervision parts, in the order of their names; their heads are not built yet.

    Args:
        supervision: configs by name; None switches a part off.
        task: the family of the student's task.
        teacher: config of the teacher, or None.

    Raises:
        ValueError: if it is no dict of configs; for a type that is no part; or for a part that needs a
            teacher, or an output, that is not there.
    """
    if not isinstance(supervision, Mapping):
        raise ValueError(
            f'supervision={supervision!r} must be a dict of parts by name, as '
            "dict(interactions=dict(type='lfi.Interactions'))"
        )
    parts: dict[str, SupervisionPart] = {}
    for name in sorted(supervision):
        config = supervision[name]
        if config is None:
            continue
        parts[name] = part = _build_part(name, config)
        if part.needs and teacher is None:
            raise ValueError(
                f'supervision.{name} needs a teacher: set model.teacher, or supervision.{name}=None'
            )
        lacking = sorted(({'vector', 'scores'} & part.reads) - task.provides)
        if lacking:
            raise ValueError(
                f"supervision.{name}.type={type(part).__name__} reads the image's {lacking[0]}, which the "
                f'task does not give: set supervision.{name}=None'
            )
    return parts


def _build_part(name: str, config: Any) -> SupervisionPart:
    option = f'supervision.{name}'
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(
            f"{option}={config!r} must be a config with a type, as dict(type='lfi.Interactions'), or None"
        )
    if not name.isidentifier() or name == 'predict_by' or hasattr(nn.ModuleDict, name):
        raise ValueError(
            f'supervision has a part named {name!r}, which is taken, or no word of letters, digits and _: '
            'take another name'
        )
    try:
        part = MODELS.build(dict(config))
    except KeyError as error:
        known = sorted(
            f'lfi.{key}'
            for key, kind in MODELS.module_dict.items()
            if isinstance(kind, type) and issubclass(kind, SupervisionPart)
        )
        raise ValueError(f'{option}.type={config["type"]!r} is unknown; choose from {known}') from error
    except (TypeError, ValueError) as error:
        raise type(error)(f'{option}: {error}') from error
    if not isinstance(part, SupervisionPart):
        raise ValueError(f'{option}.type={config["type"]!r} is no supervision part')
    return part


def build_control(control: Mapping | None, parts: Mapping[str, SupervisionPart]) -> Control | None:
    """Build a negative control.

    Args:
        control: its config, or None.
        parts: of the student.

    Raises:
        ValueError: if it changes nothing that a part reads of the teacher: its arm would be the method's.
    """
    if control is None:
        return None
    built = build_part('control', control)
    if not isinstance(built, Control):
        raise ValueError(f'control.type={control.get("type")!r} is no negative control')
    taught = {name: part for name, part in parts.items() if part.needs}
    untouched = [name for name, part in taught.items() if not built.changes(part)]
    if untouched or not taught:
        what = f'supervision.{untouched[0]} reads' if untouched else 'is read, for no part needs a teacher'
        raise ValueError(
            f'control={type(built).__name__} changes nothing that {what}: take another control, '
            'or control=None'
        )
    built.set_up(taught)
    return built


def needs_of(parts: Iterable[SupervisionPart]) -> frozenset[str]:
    """The fields of `Targets` that parts need together."""
    return frozenset().union(*(part.needs for part in parts))


def check_teacher(
    teacher: Teacher,
    parts: Mapping[str, SupervisionPart],
    text_dims: int | None,
    num_classes: int | None,
) -> None:
    """Check that a teacher fits what learns from it.

    Args:
        teacher: built, or its cache.
        parts: of the student.
        text_dims: width of the read-out's text space; None without a read-out.
        num_classes: how many classes the head tells apart; None where that is not one number.

    Raises:
        ValueError: if it does not; the message names the option.
    """
    if text_dims is not None:
        check_text_dims(text_dims, teacher.texts.shape[1])
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
