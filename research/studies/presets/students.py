"""The arms of a student, as studies have them."""

from __future__ import annotations

from dataclasses import replace

from ..arms import ARMS, METHOD, Arm, arm_of, of_kind, origin_of
from ..settings import of_student
from .preset import FEWER_SEEDS

# `presence` runs where predictions are presence; a part changes the model, and learns from the same maps.
PARTS = tuple(
    name
    for name in of_kind('ablation')
    if name.startswith(f'{METHOD}-') and ARMS[name].options and ARMS[name].reads == 'maps'
)


def classification_arms(student: str, plain: str | None = None) -> tuple[Arm, ...]:
    """All arms of a student; arguments as of `named_arms`."""
    return named_arms((*of_kind('baseline', 'negative control', 'method'), *PARTS), student, plain)


def named_arms(
    names: tuple[str, ...], student: str, plain: str | None = None, features: bool = False
) -> tuple[Arm, ...]:
    """Some arms of a student, in the settings that it has with all labels.

    Args:
        names: of the arms, in the table's order.
        student: how the names of its configs end.
        plain: how that of the task loss alone ends, where it serves several teachers. Defaults to the same.
        features: whether arms that read features learn from a cache too, which a CNN teacher allows: the
            maps' own source, so that all arms learn from the same look at each image. Defaults to asking the
            teacher about each view.
    """
    cached = ('maps', 'features') if features else ('maps',)
    arms = (
        arm_of(name, student, plain=plain, cache=ARMS[name].reads if ARMS[name].reads in cached else None)
        for name in names
    )
    return tuple(of_student(arm, student) for arm in arms)


def in_fewer_seeds(arms: tuple[Arm, ...], names: tuple[str, ...]) -> tuple[Arm, ...]:
    """The arms; those of these names run with the first three seeds of the study."""
    return tuple(replace(arm, seeds=FEWER_SEEDS) if arm.name in names else arm for arm in arms)


def each_view(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The arms without a cache: the teacher is asked about each augmented view."""
    return tuple(replace(arm, cache=None) for arm in arms)


# Where the student of a baseline looks: what its head's classes are seen by.
BY_HEAD = ('model.predict_by.type=lfi.ByClassActivation',)
# Heads that are asked so in all studies with labels.
BY_HEAD_ARMS = ('task-loss', 'logit-kd', 'dense-features')


def where_config(student: str) -> str:
    """The config that tests where a student looks, by how the names of its configs end."""
    return f'configs/evaluation/lfi_{student}_semantic-consistency.py'


def located(arms: tuple[Arm, ...], student: str) -> tuple[Arm, ...]:
    """The arms; those whose student can say where it looks are tested by the config that asks it."""
    found = []
    for arm in arms:
        if origin_of(arm.name) == METHOD:
            arm = replace(arm, test_config=where_config(student))
        elif arm.name in BY_HEAD_ARMS:
            arm = replace(arm, test_config=where_config(student), test_options=BY_HEAD)
        found.append(arm)
    return tuple(found)
