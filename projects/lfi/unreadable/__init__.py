"""Images of data sets that cannot be read: left out of training, refused elsewhere, counted and listed."""

from .error import UnreadableImageError
from .found import NAMED, FoundList
from .limit import DEFAULT_SHARE, Counts, none_readable, refuse_too_many
from .unreadable_files import Unreadable
from .unreadable_readers import leave_out_unreadable, refuse_all_unreadable, refuse_unreadable

__all__ = [
    'Counts',
    'DEFAULT_SHARE',
    'FoundList',
    'NAMED',
    'Unreadable',
    'UnreadableImageError',
    'leave_out_unreadable',
    'none_readable',
    'refuse_all_unreadable',
    'refuse_too_many',
    'refuse_unreadable',
]
