"""Images of data sets that cannot be read: left out of training, refused elsewhere, counted and listed.

It wraps any data set, and imports none.
"""

from .datasets import leave_out_unreadable, refuse_all_unreadable, refuse_unreadable
from .images import Unreadable, UnreadableImageError
from .limit import DEFAULT_SHARE, NAMED, Counts, UnreadableList, none_readable_error, refuse_too_many

__all__ = [
    'Counts',
    'DEFAULT_SHARE',
    'UnreadableList',
    'NAMED',
    'Unreadable',
    'UnreadableImageError',
    'leave_out_unreadable',
    'none_readable_error',
    'refuse_all_unreadable',
    'refuse_too_many',
    'refuse_unreadable',
]
