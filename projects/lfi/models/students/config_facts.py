"""Facts about a student from its model config, without building it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfi.registry import MODELS

from .student import Student
from .tasks import Task, task_of
from .tasks.pretraining import Pretraining


def is_student(model: Mapping[str, Any]) -> bool:
    """Whether a model config builds a `Student`: its type is the class or the class's name."""
    kind = model.get('type')
    return (MODELS.get(kind) if isinstance(kind, str) else kind) is Student


def family_of(model: Mapping[str, Any]) -> type[Task] | None:
    """Return the task family of a student's config; None for other models and unknown tasks."""
    if not is_student(model):
        return None
    task = model.get('task')
    kind = MODELS.get(task) if isinstance(task, str) and task else task
    if task is None:
        return Pretraining
    return task_of(kind) if isinstance(kind, type) else None


def reads_labels(model: Mapping[str, Any]) -> bool:
    """Whether training reads labels. Only pretraining does not."""
    family = family_of(model)
    return family is None or family.reads_labels


def cache_of(model: Mapping[str, Any]) -> str | None:
    """Return the cache folder of a student's teacher, or None."""
    teacher = model.get('teacher')
    # In other projects `teacher` may be the name of a file.
    cache: str | None = teacher.get('cache') if isinstance(teacher, Mapping) else None
    return cache


def without_cache(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model config without the teacher's cache, so that the teacher runs."""
    teacher = model.get('teacher')
    if not isinstance(teacher, Mapping):
        return dict(model)
    return {**model, 'teacher': {name: value for name, value in teacher.items() if name != 'cache'}}
