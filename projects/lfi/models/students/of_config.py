"""What a model's config says of its student, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfi.registry import MODELS

from .student import Student
from .tasks import Task, task_of
from .tasks.pretraining import Pretraining


def is_student(model: Mapping[str, Any]) -> bool:
    """Whether a model's config is of a `Student`; its type names the scope, or is the class itself."""
    kind = model.get('type')
    return (MODELS.get(kind) if isinstance(kind, str) else kind) is Student


def family_of(model: Mapping[str, Any]) -> type[Task] | None:
    """The task family of a student's config; None for other models, and for tasks of no known family."""
    if not is_student(model):
        return None
    task = model.get('task')
    kind = MODELS.get(task) if isinstance(task, str) and task else task
    if task is None:
        return Pretraining
    return task_of(kind) if isinstance(kind, type) else None


def reads_labels(model: Mapping[str, Any]) -> bool:
    """Whether a model's training reads labels; only a backbone that is pretrained does not."""
    family = family_of(model)
    return family is None or family.reads_labels


def cache_of(model: Mapping[str, Any]) -> str | None:
    """The folder of a student's teacher's cache, or None."""
    teacher = model.get('teacher')
    # That of another project's model may be a file.
    cache: str | None = teacher.get('cache') if isinstance(teacher, Mapping) else None
    return cache


def online(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config whose teacher, if any, is asked and not read from a cache."""
    teacher = model.get('teacher')
    if not isinstance(teacher, Mapping):
        return dict(model)
    return {**model, 'teacher': {name: value for name, value in teacher.items() if name != 'cache'}}
