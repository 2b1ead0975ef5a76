"""How many images of a data set may be unreadable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .error import UnreadableImageError
from .unreadable_files import Unreadable

DEFAULT_SHARE = 0.1
"""The share of `max_unreadable` where a config has none."""
# Of fewer nobody can tell a share.
ENOUGH = 20
# So many are named in an error, beside the last.
EXAMPLES = 3
FIX = 'Replace the files, or correct data_root and data_prefix'


class Counts(NamedTuple):
    """Of a data set's images.

    Args:
        bad: how many cannot be read, 1 or more.
        seen: how many were looked at.
        total: how many there are.
        share_of: of which of these numbers a share is taken: `seen`, if they come at random.
    """

    bad: int
    seen: int
    total: int
    share_of: int


def refuse_too_many(
    counts: Counts, max_share: float, latest: Unreadable, others: Sequence[str], name: str
) -> None:
    """Check that enough of a data set's images can be read.

    Args:
        counts: of its images.
        max_share: the share that may be unreadable: 0 for none, and else counted from 20 images on.
        latest: the unreadable image that was found last.
        others: the paths of some that were found before.
        name: of the data set.

    Raises:
        UnreadableImageError: if too many are unreadable, or all.
    """
    bad, seen, total = counts.bad, counts.seen, counts.total
    if bad == total:
        raise none_readable(total, latest, name)
    if max_share == 0:
        raise UnreadableImageError(
            f'{latest}. Replace the file; or do without it: max_unreadable=0 allows none to be left out, and '
            f'--cfg-options max_unreadable={DEFAULT_SHARE:g} so large a share of the images'
        )
    if bad >= ENOUGH and bad > max_share * counts.share_of:
        found = (
            f'none of the {seen} images looked at can be read'
            if bad == seen
            else f'{bad} of the {seen} images looked at cannot be read'
        )
        raise UnreadableImageError(
            f'{name}: {found}, and max_unreadable={max_share:g} is the share that may be left out. {FIX}; '
            f'among them are {", ".join(others[:EXAMPLES])}, and the last was {latest}'
        )


def none_readable(total: int, latest: Unreadable, name: str) -> UnreadableImageError:
    """The error of a data set of which no image can be read; arguments as of `refuse_too_many`."""
    return UnreadableImageError(
        f'{name}: none of the {total} images can be read. {FIX}; the last was {latest}'
    )
