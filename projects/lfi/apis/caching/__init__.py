"""Caching of a teacher's outputs for all training images: cost, writing, and verification."""

from .cost import CacheCost, cache_cost
from .job import TeacherJob
from .ray_writing import cache_teacher_by_ray
from .verification import verify
from .writing import cache_teacher

__all__ = ['CacheCost', 'TeacherJob', 'cache_cost', 'cache_teacher', 'cache_teacher_by_ray', 'verify']
