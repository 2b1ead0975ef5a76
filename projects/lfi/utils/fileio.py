"""Files: written whole or not at all, and their digests."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from itertools import count
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol, TypeVar

from mmengine.fileio import LocalBackend, register_backend

from lfi.errors import CheckpointWriteError

if sys.platform != 'win32':
    import fcntl


class AtomicLocalBackend(LocalBackend):
    """mmengine's local file backend, with a ``put`` that leaves either the complete new file or the old one.

    ``CheckpointHook(backend_args=dict(backend='lfi_atomic'))`` writes checkpoints by it. A run that is killed
    while it saves leaves no truncated file, and neither does one that finds the disk full.

    ``remove`` waits until the next file of the folder is complete. mmengine's hook removes the oldest
    checkpoint, and the best one, before it writes the next: a kill in between would leave none.
    """

    # CheckpointHook removes by one backend, and the Runner writes by another.
    _to_remove: ClassVar[set[Path]] = set()

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write a file, or leave the old one.

        Args:
            obj: The bytes of the file.
            filepath: Its path. Folders that are missing are made.

        Raises:
            CheckpointWriteError: If it cannot be written.
        """
        filepath = Path(filepath)
        filepath.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _partial(filepath) as file:
                _fill(file, obj, filepath)
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
        """Write a file of text; as `put`. Of a link it is the file that it leads to."""
        self.put(obj.encode(encoding), os.path.realpath(filepath))

    def remove(self, filepath: str | Path) -> None:
        """Remove a file, once the next ``put`` into its folder is done."""
        self._to_remove.add(Path(filepath))


def is_shared(path: Path) -> bool:
    """Whether what has a name is more than a file of that name alone: a link, of either kind, or no file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_nlink > 1


def _partial(filepath: Path) -> BinaryIO:
    """A file beside the one that is written, which is this process's alone; what a killed one left serves."""
    for number in count():
        path = filepath.with_name(f'.{filepath.name}.{f"{number}." if number else ""}partial')
        # A link in someone else's folder may lead to any file, and a pipe would block.
        if is_shared(path):
            continue
        # Nothing is taken from a process that writes the same.
        file = path.open('ab')
        if take_lock(file):
            file.truncate(0)
            return file
        file.close()
    raise AssertionError


def take_lock(file: BinaryIO) -> bool:
    """Whether a file is this process's now: no other has locked it, or has made another file of it."""
    if sys.platform == 'win32':
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system without locks.
        return True
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except FileNotFoundError:
        return False


def _fill(file: BinaryIO, content: bytes | memoryview, filepath: Path) -> None:
    """Write the content, and let the file take the path; remove it where that fails."""
    try:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if filepath.exists():
            shutil.copymode(filepath, file.name)
        if sys.platform == 'win32':
            # It moves no open file.
            file.close()
        os.replace(file.name, filepath)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise


register_backend('lfi_atomic', AtomicLocalBackend, force=True)


def file_size(path: str | Path) -> int:
    """The size of a file in bytes; -1 of what is no file of this machine."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return -1


def holds_bytes(path: Path) -> bool:
    """Whether a path is a file of a disk that holds something: those of `/proc` have no size, and no end."""
    return path.is_file() and path.stat().st_size > 0


def refuse_pipes(folder: Path) -> None:
    """Refuse a folder with a pipe or a device in it, or in a folder of it: to read one need not end.

    Raises:
        ValueError: for the first of them.
    """
    for path in (*folder.iterdir(), *folder.glob('*/*')):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f'{path} is no file of a disk: remove it')


def read_start(path: Path, most: int) -> bytes:
    """The content of a file of a disk, as far as it is no longer than so many bytes.

    Raises:
        OSError: if there is no such file, or it holds nothing.
    """
    if not holds_bytes(path):
        raise OSError(f'{path} is missing or empty, or no file')
    with path.open('rb') as file:
        return file.read(most)


class Hash(Protocol):
    """Of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Go on with more of the content."""


HashT = TypeVar('HashT', bound=Hash)
CHUNK = 1 << 22


def hash_files(digest: HashT, *paths: Path) -> HashT:
    """A hash after the contents of files, which are read in parts: they may be larger than the memory.

    Args:
        digest: of `hashlib`.
        *paths: of the files, in their order.
    """
    for path in paths:
        with path.open('rb') as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest
