"""Tasks whose models can learn from interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.registry import MODELS

from lfi.errors import UsageError
from lfi.models import Student
from lfi.utils.modules import has_base

from .kinds import registered_class, scoped_type


@dataclass(frozen=True)
class Task:
    """Task of a project's models.

    Args:
        package: package of the project.
        base: name of the models' base class.
        is_dense: whether predictions are localised and images are large. Defaults to False.
        loss_weights: weights of the interaction loss's terms. Defaults to None: the loss's own defaults.
        pad_divisor: name of the data preprocessor's option for the padding divisor.
        pad_value: name of the data preprocessor's option for the fill value.
        pads_for_test: whether the data preprocessor pads in tests without a `test_cfg`. Defaults to True.
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
        # A detector's losses are small.
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


def find_task(model: Mapping, scope: str) -> tuple[Task, dict[str, Any]]:
    """Return the task of a model, and the `type` and `task` of its student.

    Args:
        model: config of the model.
        scope: registry scope of unscoped types.

    Raises:
        UsageError: if the model is not registered, is a student already, is of an unknown task, or has no
            backbone.
    """
    model_class, setting = registered_class(model, MODELS, scope), f'model.type={model["type"]!r}'
    if model_class is None:
        raise UsageError(
            f'{setting} is registered in no installed project: import its module by '
            "custom_imports=dict(imports=['...'])"
        )
    if not isinstance(model_class, type):
        raise UsageError(f'{setting} is a function, and no class: name the class that it builds')
    if issubclass(model_class, Student):
        raise UsageError(
            f'{setting} is a student already: train it by lfi train CONFIG. If it has no teacher, set '
            'model.teacher and model.supervision as in lfi_vit-128x6-p8_shapes'
        )
    task = next((task for task in TASKS if has_base(model_class, task.package, task.base)), None)
    if task is None:
        bases = ', '.join(f"{task.package}'s {task.base}" for task in TASKS)
        raise UsageError(
            f'{setting} is of a task unknown to lfi adapt: it adapts models that inherit from {bases}. '
            'See docs/extend.md to add a task; to pretrain a backbone, use an lfi.Student without a task'
        )
    if not isinstance(model.get('backbone'), Mapping):
        raise UsageError(
            f'{setting} has no model.backbone, from which interactions are read. If it wraps another model, '
            'adapt the config of the inner model'
        )
    return task, {'type': 'lfi.Student', 'task': scoped_type(model, scope)}
