"""Construction of a student's teacher, online or cached."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lfi.registry import TEACHERS

from .cached_teacher import CachedFeatures, CachedOutputs, CachedTeacher
from .model_config import without_stored_options
from .teacher import Teacher


def build_teacher(config: Mapping[str, Any], teacher_outputs: Collection[str]) -> Teacher:
    """Build the teacher of a student, or open its cache.

    Args:
        config: config of the teacher. `cache` is a folder, or None to ask the teacher online. `text_folder`
            is for `TextTower` alone.
        teacher_outputs: fields of `Targets` to compute.

    Raises:
        CacheError: if the cache is incomplete, or of another teacher.
        ValueError: if the type is unknown, or the teacher's class refuses an argument.
    """
    arguments = without_stored_options(config)
    cache = config.get('cache')
    if cache is None:
        teacher: Teacher = TEACHERS.build(arguments)
        return teacher
    return cache_kind(teacher_outputs)(cache, arguments)


def cache_kind(teacher_outputs: Collection[str]) -> type[CachedOutputs]:
    """Return the class of the cached teacher: `CachedTeacher` for maps without features.

    For other outputs, also class scores alone, it is `CachedFeatures`.
    """
    return (
        CachedTeacher if 'maps' in teacher_outputs and 'features' not in teacher_outputs else CachedFeatures
    )
