"""Caching of a teacher's outputs for all training images: writing, and verification against the teacher."""

from .job import TeacherJob
from .verification import verify
from .writing import cache_teacher

__all__ = ['TeacherJob', 'cache_teacher', 'verify']
