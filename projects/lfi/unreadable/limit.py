"""Limit on the share of unreadable images, and the list of a run's unreadable images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .images import Unreadable, UnreadableImageError

DEFAULT_SHARE = 0.1
"""Default of `max_unreadable`, a share of the images."""
# With fewer unreadable images, the estimate of their share is not reliable.
MIN_COUNT = 20
# Number of paths in an error, beside the last one.
MAX_EXAMPLES = 3
FIX = 'Replace the files, or correct data_root and data_prefix'


class Counts(NamedTuple):
    """Numbers of unreadable, checked and all images of a data set.

    Args:
        bad: number of unreadable images, 1 or more.
        checked: number of images that were read.
        total: number of all images.
        denominator: number of images to divide by: `checked` if these were drawn at random, or `total`.
    """

    bad: int
    checked: int
    total: int
    denominator: int


def refuse_too_many(
    counts: Counts, max_share: float, latest: Unreadable, examples: Sequence[str], name: str
) -> None:
    """Check that enough of a data set's images are readable.

    Args:
        counts: numbers of the images.
        max_share: largest share of unreadable images, ignored below `MIN_COUNT` of them. 0 allows none.
        latest: last unreadable image.
        examples: paths of earlier unreadable images.
        name: name of the data set.

    Raises:
        UnreadableImageError: if too many images, or all of them, are unreadable.
    """
    bad, checked, total = counts.bad, counts.checked, counts.total
    if bad == total:
        raise none_readable_error(total, latest, name)
    if max_share == 0:
        raise UnreadableImageError(
            f'{latest}, and max_unreadable=0 allows none. Replace the file, or allow a share of the images: '
            f'--cfg-options max_unreadable={DEFAULT_SHARE:g}'
        )
    if bad >= MIN_COUNT and bad > max_share * counts.denominator:
        finding = (
            f'none of the {checked} checked images can be read'
            if bad == checked
            else f'{bad} of the {checked} checked images cannot be read'
        )
        raise UnreadableImageError(
            f'{name}: {finding}, and max_unreadable={max_share:g} is the share that may be left out. {FIX}; '
            f'among them are {", ".join(examples[:MAX_EXAMPLES])}, and the last was {latest}'
        )


def none_readable_error(total: int, latest: Unreadable, name: str) -> UnreadableImageError:
    """Return the error for a data set of `total` images, none of them readable."""
    return UnreadableImageError(
        f'{name}: none of the {total} images can be read. {FIX}; the last was {latest}'
    )


FILE_NAME = 'unreadable.txt'
MAX_LOGGED = 20
"""Number of unreadable images that are logged; the list has all of them."""


class UnreadableList:
    """File that lists unreadable images; all processes and workers of a run append to it.

    A line has the path, a tab and the reason. `len` is the number of images.

    Args:
        folder: folder of the file. Both are created with the first image.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FILE_NAME
        self._offset, self._paths = 0, set[str]()

    def add(self, image: Unreadable) -> bool:
        """Append an image; return whether it is new."""
        self._read_new_lines()
        line = format_line(image)
        if line.partition('\t')[0] in self._paths:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('ab') as file:
            file.write(line.encode(errors='surrogateescape'))
        return True

    def __len__(self) -> int:
        self._read_new_lines()
        return len(self._paths)

    def _read_new_lines(self) -> None:
        if not self.path.is_file():
            return
        with self.path.open('rb') as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b'\n')
        self._offset += len(complete + newline)
        lines = complete.decode(errors='surrogateescape').split('\n')
        self._paths.update(line.partition('\t')[0] for line in lines if line)


def format_line(image: Unreadable) -> str:
    """Format an image as a line of the list."""
    path, reason = (text.replace('\t', ' ').replace('\n', ' ') for text in image)
    return f'{path}\t{reason}\n'
