"""Folder of a student: config and weights as data, read without running code of the folder.

This package imports no model: types are built by name, if they are allowed.
"""

from .files import from_plain, to_plain
from .folder import (
    check_class_count,
    has_student_config,
    is_complete,
    read_checkpoint,
    read_config,
    read_student,
    student_files,
    write_student,
)

__all__ = [
    'check_class_count',
    'from_plain',
    'is_complete',
    'has_student_config',
    'read_checkpoint',
    'read_config',
    'read_student',
    'student_files',
    'to_plain',
    'write_student',
]
