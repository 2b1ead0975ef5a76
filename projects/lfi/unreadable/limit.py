"""How many images of a data set may be unreadable, and the list of those that a run has found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .images import Unreadable, UnreadableImageError

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
        raise none_readable_error(total, latest, name)
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


def none_readable_error(total: int, latest: Unreadable, name: str) -> UnreadableImageError:
    """The error of a data set of which no image can be read; arguments as of `refuse_too_many`."""
    return UnreadableImageError(
        f'{name}: none of the {total} images can be read. {FIX}; the last was {latest}'
    )


NAME = 'unreadable.txt'
NAMED = 20
"""So many images are named one by one as they are found; the list has them all."""


class UnreadableList:
    """A file of unreadable images, to which all processes and workers of a run append.

    Each line has the path, a tab, and the reason. Its length is how many there are.

    Args:
        folder: where it is, or will be: there is none before an image is found.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / NAME
        self._read, self._names = 0, set[str]()

    def add(self, image: Unreadable) -> bool:
        """Append an image; whether it was not there."""
        self._catch_up()
        line = format_line(image)
        if line.partition('\t')[0] in self._names:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('ab') as file:
            file.write(line.encode(errors='surrogateescape'))
        return True

    def __len__(self) -> int:
        self._catch_up()
        return len(self._names)

    def _catch_up(self) -> None:
        """Read what was appended since."""
        if not self.path.is_file():
            return
        with self.path.open('rb') as file:
            file.seek(self._read)
            complete, newline, _ = file.read().rpartition(b'\n')
        self._read += len(complete + newline)
        lines = complete.decode(errors='surrogateescape').split('\n')
        self._names.update(line.partition('\t')[0] for line in lines if line)


def format_line(image: Unreadable) -> str:
    """An image in the list."""
    path, reason = (text.replace('\t', ' ').replace('\n', ' ') for text in image)
    return f'{path}\t{reason}\n'
