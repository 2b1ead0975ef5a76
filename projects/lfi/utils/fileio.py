"""Files: atomic writing, checks and digests."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import zlib
from itertools import count
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol, TypeVar

from mmengine.fileio import LocalBackend, register_backend

from lfi.errors import CheckpointWriteError

if sys.platform != 'win32':
    import fcntl


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend with an atomic ``put``: a full disk or a kill leaves the old file intact.

    ``CheckpointHook(backend_args=dict(backend='lfi_atomic'))`` writes checkpoints with it.

    ``remove`` waits until the next file of the folder is complete. MMEngine's hook removes the oldest
    checkpoint, and the best one, before it writes the next: a kill in between would leave none.
    """

    # Shared by all instances: CheckpointHook removes with one backend, the Runner writes with another.
    _to_remove: ClassVar[set[Path]] = set()

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write a file atomically.

        Args:
            obj: content of the file.
            filepath: path of the file. Missing folders are made.

        Raises:
            CheckpointWriteError: if the file cannot be written.
        """
        filepath = Path(filepath)
        filepath.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _open_partial(filepath) as file:
                _write_and_move(file, obj, filepath)
        except OSError as error:
            raise CheckpointWriteError(
                f'{filepath} ({memoryview(obj).nbytes / 1e6:.1f} MB) cannot be written: '
                f'{error.strerror or error}. Older files are unharmed: make room, then resume'
            ) from error
        self._to_remove.discard(filepath)
        for outdated in [path for path in self._to_remove if path.parent == filepath.parent]:
            outdated.unlink(missing_ok=True)
            self._to_remove.discard(outdated)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write a text file atomically. A link stays, and its target is written."""
        self.put(obj.encode(encoding), os.path.realpath(filepath))

    def remove(self, filepath: str | Path) -> None:
        """Remove a file after the next ``put`` into its folder."""
        self._to_remove.add(Path(filepath))


def is_link_or_special(path: Path) -> bool:
    """Whether a path exists, and is a symbolic link, one of several hard links, or not a regular file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(status.st_mode) or status.st_nlink > 1


def _open_partial(filepath: Path) -> BinaryIO:
    """Open and lock a temporary file beside a path; one that a killed process left is used again."""
    for number in count():
        path = filepath.with_name(f'.{filepath.name}.{f"{number}." if number else ""}partial')
        # A link in an untrusted folder may lead to any file, and a pipe would block.
        if is_link_or_special(path):
            continue
        # Append: another process may be writing this file.
        file = path.open('ab')
        if take_lock(file):
            file.truncate(0)
            return file
        file.close()
    raise AssertionError


def take_lock(file: BinaryIO) -> bool:
    """Lock a file; return False if another process has locked or replaced it."""
    if sys.platform == 'win32':
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # The file system has no locks.
        return True
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except FileNotFoundError:
        return False


def _write_and_move(file: BinaryIO, content: bytes | memoryview, filepath: Path) -> None:
    """Write the content and move the file to its path; remove the file on an error."""
    try:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if filepath.exists():
            shutil.copymode(filepath, file.name)
        if sys.platform == 'win32':
            # Windows moves no open file.
            file.close()
        os.replace(file.name, filepath)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise


register_backend('lfi_atomic', AtomicLocalBackend, force=True)


def file_size(path: str | Path) -> int:
    """Return the size of a file in bytes; -1 if there is no such file on this machine."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return -1


PIECE, NUM_PIECES = 1 << 12, 16
"""Bytes that `file_digest` reads at once, and how often."""


def file_digest(path: str | Path) -> int:
    """Return a checksum, above 0, of a file's size and of 64 KiB in it; 0 if there is no such file.

    It covers a file of at most 64 KiB, and else 16 pieces at equal distances, the start and the end among
    them. It tells an image from another one of its name, and takes little of the time of decoding.
    """
    try:
        with open(path, 'rb', buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            digest = zlib.crc32(size.to_bytes(8, 'little'))
            last = max(0, size - PIECE)
            pieces = NUM_PIECES if size > NUM_PIECES * PIECE else -(-size // PIECE)
            for piece in range(pieces):
                file.seek(last * piece // max(1, pieces - 1))
                digest = zlib.crc32(file.read(PIECE), digest)
            return digest or 1
    except (OSError, ValueError):
        return 0


def is_nonempty_file(path: Path) -> bool:
    """Whether a path is a regular file of more than 0 bytes; files of `/proc` have size 0 and no end."""
    return path.is_file() and path.stat().st_size > 0


def refuse_pipes(folder: Path) -> None:
    """Check that a folder, down to its subfolders, has no pipes or devices: reading one may never end.

    Raises:
        ValueError: if the folder has a pipe or a device.
    """
    for path in (*folder.iterdir(), *folder.glob('*/*')):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f'{path} is no regular file: remove it')


def read_prefix(path: Path, max_bytes: int) -> bytes:
    """Read at most `max_bytes` from the start of a file.

    Raises:
        OSError: if there is no such file, or it is empty.
    """
    if not is_nonempty_file(path):
        raise OSError(f'{path} is missing or empty, or no file')
    with path.open('rb') as file:
        return file.read(max_bytes)


class Hash(Protocol):
    """A hash object of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Add content to the hash."""


HashT = TypeVar('HashT', bound=Hash)
CHUNK = 1 << 22


def hash_files(digest: HashT, *paths: Path) -> HashT:
    """Update a hash by the contents of files, chunk by chunk, and return it.

    Args:
        digest: hash object of `hashlib`.
        *paths: paths of the files, in order.
    """
    for path in paths:
        with path.open('rb') as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest
