"""Arms of a student in the studies."""

from __future__ import annotations

from dataclasses import replace

from ..arms import ARMS, METHOD, Arm, arms_of_kind, build_arm, root_arm
from ..settings import with_student_settings
from .preset import FEWER_SEEDS

# Ablations of studies with all labels: they change LFI's model or loss and learn from the same maps.
# `presence` belongs to studies whose predictions are presence.
PARTS = tuple(
    name
    for name in arms_of_kind('ablation')
    if name.startswith(f'{METHOD}-') and ARMS[name].options and ARMS[name].teacher_output == 'maps'
)

FEW_LABELS_ARMS = ('dho',)
"""Baselines that are for few labels."""


def classification_arms(student: str, plain: str | None = None) -> tuple[Arm, ...]:
    """Build the arms of a student for studies with all labels, with the arguments of `named_arms`."""
    names = (*arms_of_kind('baseline', 'negative control', 'method'), *PARTS)
    return named_arms(tuple(name for name in names if name not in FEW_LABELS_ARMS), student, plain)


def named_arms(
    names: tuple[str, ...], student: str, plain: str | None = None, features: bool = False
) -> tuple[Arm, ...]:
    """Build arms of a student in its settings for all labels.

    Args:
        names: names of the arms, in the order of the table.
        student: suffix of the names of the student's configs.
        plain: suffix of the task loss's config, if several teachers share it. Defaults to `student`.
        features: whether arms that read features learn from a cache, which a CNN teacher allows. All arms
            then learn from the same unaugmented images. Defaults to False: they ask about each view.
    """
    cached = ('maps', 'features') if features else ('maps',)
    arms = (
        build_arm(
            name,
            student,
            plain=plain,
            cache=ARMS[name].teacher_output if ARMS[name].teacher_output in cached else None,
        )
        for name in names
    )
    return tuple(with_student_settings(arm, student) for arm in arms)


def with_fewer_seeds(arms: tuple[Arm, ...], names: tuple[str, ...]) -> tuple[Arm, ...]:
    """Limit the named arms to the first three seeds of the study."""
    return tuple(replace(arm, seeds=FEWER_SEEDS) if arm.name in names else arm for arm in arms)


def without_cache(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """Remove the caches of arms, so that they ask the teacher about each augmented view."""
    return tuple(replace(arm, cache=None) for arm in arms)


# Test options that localize a baseline's classes by class activation maps of its head.
BY_HEAD = ('model.predict_by.type=lfi.ByClassActivation',)
# Arms tested with `BY_HEAD` in all studies with labels.
BY_HEAD_ARMS = ('task-loss', 'logit-kd', 'dense-features')


def localization_config(student: str) -> str:
    """Return the config of the localization test of a student, given the suffix of its configs."""
    return f'configs/evaluation/lfi_{student}_semantic-consistency.py'


def with_localization(arms: tuple[Arm, ...], student: str) -> tuple[Arm, ...]:
    """Set the localization test of arms that have maps: LFI's arms and those of `BY_HEAD_ARMS`."""
    tested = []
    for arm in arms:
        if root_arm(arm.name) == METHOD:
            arm = replace(arm, test_config=localization_config(student))
        elif arm.name in BY_HEAD_ARMS:
            arm = replace(arm, test_config=localization_config(student), test_options=BY_HEAD)
        tested.append(arm)
    return tuple(tested)
