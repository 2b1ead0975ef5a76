"""From a task's model to the one that learns from interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.registry import MODELS

from lfi.errors import UsageError
from lfi.models.students.student import StudentMixin

from .kinds import has_base, kind_of, with_scope


@dataclass(frozen=True)
class Task:
    """What a project's models do.

    Args:
        package: the project.
        base: the class that all of its models that can learn inherit from.
        own: the models that LFI names itself, and their types.
        any: the type of all others, which say their `task`.
        is_dense: whether a prediction is one of places, and images are large.
        interaction_loss: the weights of the terms beside the task's own losses. None: the default.
        pad_divisor: how its data preprocessor calls that to whose multiples it pads.
        pad_value: likewise, what it pads with.
        pads_for_test: whether it pads in a test as in training; if not, only where its `test_cfg` says so.
    """

    package: str
    base: str
    own: Mapping[str, str]
    any: str
    is_dense: bool = False
    interaction_loss: Mapping[str, float] | None = None
    pad_divisor: str = 'pad_size_divisor'
    pad_value: str = 'pad_value'
    pads_for_test: bool = True


TASKS = (
    Task('mmpretrain', 'ImageClassifier', {'ImageClassifier': 'lfi.LFIImageClassifier'}, 'lfi.LFIClassifier'),
    Task(
        'mmdet',
        'BaseDetector',
        {'MaskRCNN': 'lfi.LFIMaskRCNN'},
        'lfi.LFIDetector',
        is_dense=True,
        # Beside a detector's own losses, which are small.
        interaction_loss={'positions_weight': 0.5, 'concepts_weight': 1.0, 'presence_weight': 0.5},
    ),
    Task(
        'mmseg',
        'EncoderDecoder',
        {'EncoderDecoder': 'lfi.LFIEncoderDecoder'},
        'lfi.LFISegmentor',
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
    if issubclass(kind, StudentMixin):
        raise UsageError(f"{named} is one of LFI's already: train it as it is, by lfi train CONFIG")
    task = next((one for one in TASKS if has_base(kind, one.package, one.base)), None)
    if task is None:
        bases = ', '.join(f"{one.package}'s {one.base}" for one in TASKS)
        raise UsageError(
            f'{named} is of a task that lfi adapt does not know. It knows what inherits from {bases}. Put '
            'InteractionDistillMixin before a model of another task, as docs/extend.md shows; a backbone is '
            'pretrained without a task by lfi.LFIPretrainer'
        )
    if not isinstance(model.get('backbone'), Mapping):
        raise UsageError(
            f'{named} has no model.backbone: interactions are read from a backbone, and that of a model '
            'inside another one is not looked for. Adapt the config of the inner model'
        )
    full = with_scope(model, scope)
    # A class of one's own may have the name of theirs.
    if kind.__name__ in task.own and kind.__module__.partition('.')[0] == task.package:
        return task, {'type': task.own[kind.__name__]}
    return task, {'type': task.any, 'task': full}
