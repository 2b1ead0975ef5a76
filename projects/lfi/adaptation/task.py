"""From a task's model to the one that learns from interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.registry import MODELS

from lfi.errors import UsageError
from lfi.models import Student
from lfi.utils.modules import has_base

from .kinds import kind_of, with_scope


@dataclass(frozen=True)
class Task:
    """What a project's models do.

    Args:
        package: the project.
        base: the class that all of its models that can learn inherit from.
        is_dense: whether a prediction is one of places, and images are large.
        loss_weights: of the interaction loss's terms beside the task's own losses. None: the default.
        pad_divisor: how its data preprocessor calls that to whose multiples it pads.
        pad_value: likewise, what it pads with.
        pads_for_test: whether it pads in a test as in training; if not, only where its `test_cfg` says so.
    """

    package: str
    base: str
    is_dense: bool = False
    loss_weights: Mapping[str, float] | None = None
    pad_divisor: str = 'pad_size_divisor'
    pad_value: str = 'pad_value'
    pads_for_test: bool = True


TASKS = (
    Task('mmpretrain', 'ImageClassifier'),
    Task(
        'mmdet',
        'BaseDetector',
        is_dense=True,
        # Beside a detector's own losses, which are small.
        loss_weights={'spatial_weight': 0.5, 'semantic_weight': 1.0, 'presence_weight': 0.5},
    ),
    Task(
        'mmseg',
        'EncoderDecoder',
        is_dense=True,
        pad_divisor='size_divisor',
        pad_value='pad_val',
        pads_for_test=False,
    ),
)


def task_of(model: Mapping, scope: str) -> tuple[Task, dict[str, Any]]:
    """The task of a model, and what its config says in place of its type.

    Args:
        model: the config.
        scope: where a type is looked up that names no scope.

    Raises:
        UsageError: if the type is not registered, learns from interactions already, is of no task that can
            learn, or has no backbone.
    """
    kind, named = kind_of(model, MODELS, scope), f'model.type={model["type"]!r}'
    if kind is None:
        raise UsageError(
            f'{named} is registered in no project that is installed: import its module by '
            "custom_imports=dict(imports=['...'])"
        )
    if not isinstance(kind, type):
        raise UsageError(f'{named} is a function, and no class: name the class that it builds')
    if issubclass(kind, Student):
        raise UsageError(
            f'{named} is a student already: train it as it is, by lfi train CONFIG. One without a '
            'teacher gets model.teacher and model.supervision, as lfi_vit-128x6-p8_shapes has them'
        )
    task = next((one for one in TASKS if has_base(kind, one.package, one.base)), None)
    if task is None:
        bases = ', '.join(f"{one.package}'s {one.base}" for one in TASKS)
        raise UsageError(
            f'{named} is of a task that lfi adapt does not know. It knows what inherits from {bases}. '
            'docs/extend.md shows how to make another task known; a backbone is pretrained by an lfi.Student '
            'without a task'
        )
    if not isinstance(model.get('backbone'), Mapping):
        raise UsageError(
            f'{named} has no model.backbone: interactions are read from a backbone, and that of a model '
            'inside another one is not looked for. Adapt the config of the inner model'
        )
    return task, {'type': 'lfi.Student', 'task': with_scope(model, scope)}
