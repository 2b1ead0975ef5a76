"""Unreadable images: replaced in training, refused in validation and test, counted and listed.

This package wraps data sets of any class, and imports none.
"""

from .datasets import refuse_all_unreadable, refuse_unreadable, replace_unreadable
from .images import (
    DroppedImageError,
    Unreadable,
    UnreadableImageError,
    find_cause_of_failure,
    find_undecodable_image,
)
from .limit import DEFAULT_SHARE, MAX_LOGGED, Counts, UnreadableList, none_readable_error, refuse_too_many

__all__ = [
    'Counts',
    'DEFAULT_SHARE',
    'DroppedImageError',
    'UnreadableList',
    'MAX_LOGGED',
    'Unreadable',
    'UnreadableImageError',
    'find_cause_of_failure',
    'find_undecodable_image',
    'replace_unreadable',
    'none_readable_error',
    'refuse_all_unreadable',
    'refuse_too_many',
    'refuse_unreadable',
]
