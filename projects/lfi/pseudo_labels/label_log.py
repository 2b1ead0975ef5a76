"""Log of labels, from which a stopped run resumes."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.fileio import is_link_or_special, take_lock


def log_path(folder: Path, rank: int) -> Path:
    """Return the log of one of the processes that share the work: `log.jsonl`, `log-1.jsonl` and so on."""
    return folder / (f'log-{rank}.jsonl' if rank else 'log.jsonl')


class LabelLog:
    """File of labels with one line for each batch of images.

    The first line holds the settings. An incomplete last line is cut off. Each of several processes writes a
    log of its own, and reads those of the others.

    Args:
        path: path of the file. The file and its folder are created if missing.
        settings: plain data that determines the labels.

    Raises:
        UsageError: if the file has other settings, is a link or no log, cannot be written, or another run
            writes it.
    """

    def __init__(self, path: Path, settings: Mapping) -> None:
        self.path, self._header = path, _line(settings)
        self._records: dict[str, dict] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A link in someone else's folder could lead to another file.
            if is_link_or_special(path):
                raise UsageError(
                    f'{path} is a link, or not a regular file: remove it, or choose another folder'
                )
            self._file = path.open('a+b')
        except OSError as error:
            raise UsageError(f'{path} cannot be written: {error.strerror or error}') from error
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise

    def _resume(self) -> None:
        """Load the records of the file, and prepare to append."""
        if not take_lock(self._file):
            raise UsageError(f'{self.path} is being written by another run: wait, or choose another folder')
        self._file.seek(0)
        content = self._file.read()
        complete = content[: content.rfind(b'\n') + 1]
        self._load(self.path, complete or content)
        try:
            self._file.truncate(len(complete))
            if not complete:
                self._write(self._header)
        except OSError as error:
            raise UsageError(f'{self.path} cannot be written: {error.strerror or error}') from error

    def read_others(self) -> None:
        """Load the records of all other logs in the folder.

        Raises:
            UsageError: if a log has other settings, is a link or no log, or cannot be read.
        """
        for path in sorted(self.path.parent.glob('log*.jsonl')):
            if path == self.path:
                continue
            if is_link_or_special(path):
                raise UsageError(f'{path} is a link, or not a regular file: remove it')
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UsageError(f'{path} cannot be read: {error.strerror or error}') from error
            # Another process may be writing the last line.
            self._load(path, content[: content.rfind(b'\n') + 1] or content)

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def __getitem__(self, name: str) -> dict:
        return self._records[name]

    def add(self, records: list[dict]) -> None:
        """Append a batch of records, each with the name of its image as `file`.

        Raises:
            UsageError: if the file cannot be written.
        """
        try:
            self._write(_line(records))
        except OSError as error:
            raise UsageError(
                f'{self.path} cannot be written: {error.strerror or error}. The labels so far are kept: '
                'make room, then run the same command again'
            ) from error
        self._index(records)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _load(self, path: Path, content: bytes) -> None:
        """Load the records of a log's content, and check its settings."""
        # A new file is empty. A run that was stopped early wrote only the header, or a part of it.
        if self._header.startswith(content):
            return
        settings = json.loads(self._header)
        try:
            logged, *batches = map(json.loads, content.splitlines())
            for records in batches:
                self._index(records)
            differing = [key for key in {**settings, **logged} if logged.get(key) != settings.get(key)]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise UsageError(f'{path} holds no labels: remove it, or choose another folder') from error
        if differing:
            key = differing[0]
            raise UsageError(
                f'{path} was written with {key}={reprlib.repr(logged.get(key))}, and not '
                f'{reprlib.repr(settings.get(key))}: choose another folder, or remove it'
            )

    def _index(self, records: list[dict]) -> None:
        self._records.update((record['file'], record) for record in records)

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()


def _line(content: object) -> bytes:
    return json.dumps(content).encode() + b'\n'
