"""From configs to the parts that a student learns from, and their checks against one another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from torch import nn

from lfi.models.controls import Control
from lfi.models.readout import InteractionReadout, check_text_dims
from lfi.models.supervision import Interactions, SupervisionPart
from lfi.models.teachers import Teacher
from lfi.registry import MODELS, build_part

from .predict_by import PredictBy
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
    for name in sorted(supervision, key=str):
        config = supervision[name]
        if config is None:
            continue
        parts[name] = part = _build_part(name, config)
        if part.needs and teacher is None:
            raise ValueError(
                f'supervision.{name} needs a teacher: set model.teacher, or supervision.{name}=None'
            )
        kind = Interactions if isinstance(part, Interactions) else type(part)
        twice = [other for other in parts if isinstance(parts[other], kind)]
        if len(twice) > 1:
            raise ValueError(
                f'supervision.{twice[0]} and supervision.{name} are both lfi.{kind.__name__}, and their '
                'losses have the same names: one of them is enough'
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
    taken = name == 'predict_by' or hasattr(nn.ModuleDict(), str(name))
    if not isinstance(name, str) or not name.isidentifier() or taken:
        raise ValueError(
            f'supervision has a part named {name!r}, which is taken, or no word of letters, digits and _: '
            'take another name'
        )
    part: SupervisionPart = build_named(option, config, SupervisionPart)
    return part


def build_predict_by(predict_by: Any, default: str) -> PredictBy:
    """Build what predicts; errors as of `build_named`.

    Args:
        predict_by: its config, or None.
        default: the type for None.
    """
    found: PredictBy = build_named(
        'predict_by', {'type': default} if predict_by is None else predict_by, PredictBy
    )
    return found


def asks(parts: Mapping[str, SupervisionPart], predict_by: PredictBy) -> bool:
    """Whether a part or what predicts reads the student's read-out."""
    return predict_by.reads_readout or any(isinstance(part, Interactions) for part in parts.values())


def build_readout(
    readout: Mapping | None,
    parts: Mapping[str, SupervisionPart],
    predict_by: PredictBy,
    width: int,
    text_dims: Callable[[], int],
) -> InteractionReadout | None:
    """Build a student's read-out, or None where nothing reads it and none is given.

    Args:
        readout: its arguments, or None.
        parts: of the student.
        predict_by: of the student.
        width: of the student's tokens.
        text_dims: finds the width of the text space where `readout` does not state it.
    """
    if readout is None and not asks(parts, predict_by):
        return None
    arguments = dict(readout or {})
    if arguments.setdefault('embed_dims', width) != width:
        raise ValueError(
            f'readout.embed_dims={arguments["embed_dims"]!r} must be the width of the backbone, {width}: '
            'leave it out'
        )
    defaults: dict[str, Any] = {}
    for part in parts.values():
        defaults.update(part.readout_defaults)
    if arguments.get('text_dims') is None:
        arguments['text_dims'] = text_dims()
    built: InteractionReadout = build_part('readout', arguments, type='lfi.InteractionReadout', **defaults)
    return built


def check_contrast_weight(readout: InteractionReadout | None, reads: Collection[str]) -> None:
    """Raise a ValueError if parts train a student whose answers are weighed by scores that none trains."""
    if (
        readout is not None
        and readout.contrast_weight
        and reads
        and not {'concept_scores', 'presence'} & {*reads}
    ):
        raise ValueError(
            f'readout.contrast_weight={readout.contrast_weight} weighs answers by the scores over concepts, '
            'which learn nothing where semantic_weight and presence_weight of lfi.Interactions are 0: remove '
            'it'
        )


def check_trained(readout: InteractionReadout | None, reads: Collection[str]) -> None:
    """Raise a ValueError, before training, if there is a read-out that no part trains."""
    if readout is not None and not {'attention', 'concept_scores', 'presence'} & {*reads}:
        raise ValueError(
            'readout is given, and no supervision part trains it: its answers would be random: set '
            'readout=None'
        )


def reads_of(parts: Mapping[str, SupervisionPart], predict_by: PredictBy) -> frozenset[str]:
    """What parts read of a student, and so train."""
    read: frozenset[str] = frozenset().union(*(part.reads for part in parts.values()))
    if 'scores' in read and predict_by.reads_readout:
        read |= {'presence'}
    return read


def build_named(option: str, config: Any, base: type) -> Any:
    """Build what an option of a student configures.

    Args:
        option: its name, for errors.
        config: `dict(type=..., ...)`.
        base: the class of which it must be.

    Raises:
        ValueError: for no such config, or a type that is unknown or of another class.
        TypeError, ValueError: as the type's own arguments say.
    """
    known = sorted(
        f'lfi.{name}'
        for name, kind in MODELS.module_dict.items()
        if isinstance(kind, type) and issubclass(kind, base) and kind.__module__.startswith('lfi.')
    )
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(
            f'{option}={config!r} must be a config with a type, as dict(type={known[0]!r}), or None; types '
            f'are {known}'
        )
    named = config['type']
    kind = MODELS.get(named) if isinstance(named, str) else named
    if not (isinstance(kind, type) and issubclass(kind, base)):
        found = 'unknown' if kind is None else f'no {base.__name__}'
        raise ValueError(f'{option}.type={named!r} is {found}; choose from {known}')
    try:
        return kind(**{name: value for name, value in config.items() if name not in ('type', '_scope_')})
    except (TypeError, ValueError) as error:
        raise type(error)(f'{option}: {error}') from error


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
    built: Control = build_named('control', control, Control)
    taught = {name: part for name, part in parts.items() if part.needs}
    untouched = [name for name, part in taught.items() if not (part.learns and built.changes(part))]
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
