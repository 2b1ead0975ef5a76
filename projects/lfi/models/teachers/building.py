"""From a student's teacher config to the teacher, or to its cache."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lfi.registry import TEACHERS

from .cached_teacher import CachedFeatures, CachedOutputs, CachedTeacher
from .teacher import Teacher


def build_teacher(config: Mapping[str, Any], needs: Collection[str]) -> Teacher:
    """Build the teacher of a student, or open its cache.

    Args:
        config: of the teacher; `cache` is a folder, or None for asking online.
        needs: the fields of `Targets` that are made.

    Raises:
        CacheError: as `CachedOutputs`.
        ValueError: for an unknown type; and as the teacher's class.
    """
    arguments = dict(config)
    cache = arguments.pop('cache', None)
    if cache is None:
        teacher: Teacher = TEACHERS.build(arguments)
        return teacher
    return cache_kind(needs)(cache, arguments)


def cache_kind(needs: Collection[str]) -> type[CachedOutputs]:
    """What stands in for the teacher: a cache of maps where no part needs features, and else one of features.

    Class scores alone come from features too.
    """
    return CachedTeacher if 'maps' in needs and 'features' not in needs else CachedFeatures
