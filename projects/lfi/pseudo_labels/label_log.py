"""Labels as they come, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.fileio import is_shared, take_lock


class LabelLog:
    """A file of labels, which grows by a line for each batch of images.

    Its first line says what made the labels. A line that was not written in full is cut off.

    Args:
        path: The file; it is made where there is none, with its folder.
        settings: Plain data that names all that labels depend on.

    Raises:
        UsageError: If the file is of other settings, is no such file or a link, cannot be written, or another
            run writes it.
    """

    def __init__(self, path: Path, settings: Mapping) -> None:
        self.path = path
        self._records: dict[str, dict] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # In someone else's folder it would lead to another file.
            if is_shared(path):
                raise UsageError(f'{path} is a link, or no file: remove it, or choose another folder')
            self._file = path.open('a+b')
        except OSError as error:
            raise UsageError(f'{path} cannot be written: {error.strerror or error}') from error
        try:
            self._go_on(_line(settings))
        except BaseException:
            self._file.close()
            raise

    def _go_on(self, first: bytes) -> None:
        """Take the records of what is there, and write on behind them."""
        if not take_lock(self._file):
            raise UsageError(f'{self.path} is being written by another run: wait, or choose another folder')
        self._file.seek(0)
        content = self._file.read()
        complete = content[: content.rfind(b'\n') + 1]
        self._check(complete or content, first)
        try:
            self._file.truncate(len(complete))
            if not complete:
                self._write(first)
        except OSError as error:
            raise UsageError(f'{self.path} cannot be written: {error.strerror or error}') from error

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def __getitem__(self, name: str) -> dict:
        return self._records[name]

    def add(self, records: list[dict]) -> None:
        """Add a batch of records, each with the name of its image under `file`.

        Raises:
            UsageError: If they cannot be written.
        """
        try:
            self._write(_line(records))
        except OSError as error:
            raise UsageError(
                f'{self.path} cannot be written: {error.strerror or error}. What is there is kept: make '
                'room, then run the same command again'
            ) from error
        self._take(records)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check(self, content: bytes, first: bytes) -> None:
        """Take the records of what is there, unless it is of something else."""
        if first.startswith(content):
            return
        settings = json.loads(first)
        try:
            found, *batches = map(json.loads, content.splitlines())
            for records in batches:
                self._take(records)
            differing = [key for key in {**settings, **found} if found.get(key) != settings.get(key)]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise UsageError(f'{self.path} holds no labels: remove it, or choose another folder') from error
        if differing:
            key = differing[0]
            raise UsageError(
                f'{self.path} was written with {key}={reprlib.repr(found.get(key))}, and not '
                f'{reprlib.repr(settings.get(key))}: choose another folder, or remove it'
            )

    def _take(self, records: list[dict]) -> None:
        self._records.update((record['file'], record) for record in records)

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()


def _line(content: object) -> bytes:
    return json.dumps(content).encode() + b'\n'
