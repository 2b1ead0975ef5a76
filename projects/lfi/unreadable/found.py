"""The list of the unreadable images that a run has found."""

from __future__ import annotations

from pathlib import Path

from .unreadable_files import Unreadable

NAME = 'unreadable.txt'
NAMED = 20
"""So many images are named one by one as they are found; the list has them all."""


class FoundList:
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
        line = line_of(image)
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


def line_of(image: Unreadable) -> str:
    """An image in the list."""
    path, reason = (text.replace('\t', ' ').replace('\n', ' ') for text in image)
    return f'{path}\t{reason}\n'
