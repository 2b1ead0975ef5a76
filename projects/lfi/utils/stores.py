"""Object stores, by fsspec: whole objects are read and written, with retries and local copies."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from random import Random
from threading import Lock
from typing import Any, BinaryIO, NamedTuple, TypeVar
from uuid import uuid4

from mmengine.logging import print_log

from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend, file_size

T = TypeVar('T')
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 8, 0.5, 30.0
"""Attempts of a request, and seconds before the second and between the last; each wait doubles."""
COPIES, COPIES_GB = 'LFI_COPIES', 'LFI_COPIES_GB'
"""Environment variables: folder of local copies, and its largest size (default: 20)."""
RECENT, ABANDONED = 120.0, 3600.0
"""Seconds for which a copy stays after it was asked for, and a part after it has grown."""
_ADDRESS = re.compile(r'(?!tar:)[a-z][a-z0-9+.-]*://')
# Another attempt would end alike.
_FINAL = (
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ImportError,
    MemoryError,
    TypeError,
    AttributeError,
)
_FINAL_NAMES = ('NoCredentialsError', 'PartialCredentialsError')
PIECE = 2**24
"""Bytes of a request: each is checked for its length."""
_FOLDER = re.compile('[0-9a-f]{24}')
_USER = re.compile(r'(://)[^/\s]*@')
# They do not tell an object from an older one of equal size. A signed redirect changes the URL each time.
_NO_VERSION = frozenset(('name', 'size', 'type', 'url', 'mimetype', 'partial'))
_REFUSED, _GONE = (401, 403), (404, 410)
_random = Random()
_LOCKS: defaultdict[str, Lock] = defaultdict(Lock)
# A thread of the parent process may hold one.
os.register_at_fork(after_in_child=_LOCKS.clear)


class StoreError(UsageError):
    """A request to a store that failed, or would fail again."""


class Entry(NamedTuple):
    """File of a folder, or object of a store.

    Args:
        name: name in its folder.
        size: size in bytes.
        modified: time of its last change, in seconds since 1970; NaN if the store does not tell.
    """

    name: str
    size: int
    modified: float


def is_address(path: object) -> bool:
    """Whether a path is the address of an object or a folder in a store, such as `s3://bucket/key`."""
    return _ADDRESS.match(str(path)) is not None


def public_address(address: str) -> str:
    """Return an address without a password and a signature, for messages."""
    return _USER.sub(r'\1', address).partition('?')[0]


def refuse_secret(address: str) -> None:
    """Refuse an address with a password or a signature.

    Raises:
        StoreError: if it has one, or another query.
    """
    if is_address(address) and public_address(address) != address:
        raise StoreError(
            f'{public_address(address)} has a password or a query, which would stand in logs and configs: '
            "give the store's credentials in its own way"
        )


def join(address: str, name: str) -> str:
    """Return the path or the address of a file in a folder."""
    return f'{address.rstrip("/")}/{name}' if is_address(address) else str(Path(address) / name)


def filesystem(address: str) -> tuple[Any, str]:
    """Return the file system of fsspec for an address, and the path in it.

    Credentials are those of the store's own tools; options are read from fsspec's own configuration.

    Raises:
        StoreError: if no package is installed that knows the scheme, or the address has a password.
    """
    from fsspec.core import url_to_fs

    refuse_secret(address)
    try:
        # A listing may be old: other processes write.
        return url_to_fs(address, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f'{public_address(address)} cannot be opened: {error}. Install what fsspec needs for this store, '
            "such as pip install 'lfi[scale]' for s3://"
        ) from error


def write_file(path: str, content: bytes) -> None:
    """Write a local file or an object in one step: other processes find the old one or the new one.

    Raises:
        CheckpointWriteError: if the local file cannot be written.
        StoreError: if the object cannot be written.
    """
    if not is_address(path):
        AtomicLocalBackend().put(content, path)
        return
    files, path_in_store = filesystem(path)

    def write() -> None:
        files.pipe_file(path_in_store, content)
        try:
            size = _info(files, path_in_store)['size']
        except FileNotFoundError as error:
            # Some stores show an object a moment later.
            raise OSError('it is not there after it was sent') from error
        if size != len(content):
            raise OSError(f'{size:,} bytes arrived, and {len(content):,} were sent')

    try:
        retried(write, 'written', path)
    except FileNotFoundError as error:
        raise StoreError(f'{public_address(path)} cannot be written: there is no such bucket') from error


def remove_file(path: str) -> None:
    """Remove a local file or an object, if it is there.

    Raises:
        StoreError: if the object cannot be removed.
    """
    if not is_address(path):
        Path(path).unlink(missing_ok=True)
        return
    files, path_in_store = filesystem(path)
    with suppress(FileNotFoundError):
        retried(lambda: files.rm_file(path_in_store), 'removed', path)


def list_files(folder: str) -> dict[str, Entry]:
    """List the files of a local folder, or the objects of one in a store, by name; empty without a folder.

    Raises:
        StoreError: if it cannot be listed.
    """
    if not is_address(folder):
        return dict(_local_files(Path(folder)))
    files, path = filesystem(folder)
    try:
        found = retried(lambda: files.ls(path, detail=True, refresh=True), 'listed', folder)
    except FileNotFoundError:
        return {}
    entries = (
        Entry(PurePosixPath(item['name']).name, item['size'] or 0, _modified(item))
        for item in found
        if item['type'] == 'file'
    )
    return {entry.name: entry for entry in entries}


def match_objects(pattern: str) -> list[str]:
    """Return the addresses that match wildcards, sorted.

    Raises:
        StoreError: if the folder cannot be listed.
    """
    files, path = filesystem(pattern)
    found = retried(lambda: files.glob(path), 'listed', pattern)
    return sorted(files.unstrip_protocol(name) for name in found)


def exists(path: str) -> bool:
    """Whether there is a local file, or an object.

    Raises:
        StoreError: if the store cannot be read.
    """
    if not is_address(path):
        return Path(path).is_file()
    files, path_in_store = filesystem(path)
    try:
        retried(lambda: _info(files, path_in_store), 'read', path)
    except FileNotFoundError:
        return False
    return True


def retried(request: Callable[[], T], done: str, address: str) -> T:
    """Return the result of a request to a store. A failed one is repeated after a wait that doubles.

    Args:
        request: sends the request.
        done: what would be done, for messages: 'read'.
        address: address of the object.

    Raises:
        FileNotFoundError: if there is no such object.
        StoreError: if the request failed `ATTEMPTS` times, or would fail again.
    """
    name = public_address(address)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return request()
        except StoreError:
            raise
        except Exception as error:
            if _is_missing(error):
                raise FileNotFoundError(f'{name}: there is no such object') from error
            reason = _reason(error)
            is_final = (
                isinstance(error, _FINAL)
                or type(error).__name__ in _FINAL_NAMES
                or _status(error) in _REFUSED
            )
            if is_final or attempt == ATTEMPTS:
                times = '' if is_final else f', {ATTEMPTS} times'
                raise StoreError(f'{name} cannot be {done}{times}: {reason}') from error
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * _random.uniform(0.5, 1.5)
            print_log(
                f'{name} could not be {done} ({reason}): attempt {attempt + 1} of {ATTEMPTS} follows in '
                f'{wait:.1f} s',
                'current',
                logging.WARNING,
            )
            time.sleep(wait)
    raise AssertionError


def read_start(address: str, count: int) -> bytes:
    """Return the first bytes of an object: `count`, or all of a shorter one.

    Raises:
        FileNotFoundError: if there is no such object.
        StoreError: if it cannot be read.
    """
    files, path = filesystem(address)

    def read() -> bytes:
        content: bytes = files.cat_file(path, start=0, end=count)
        if len(content) < count and len(content) < _info(files, path)['size']:
            raise OSError(f'{len(content):,} bytes arrived, and {count:,} were asked for')
        return content

    return retried(read, 'read', address)


class LocalCopies:
    """Local copies of objects, in a folder of bounded size that processes share.

    A copy is written under another name and moved, so that no process reads a part of it. Its size is
    compared with that of the object. Copies that were asked for longest ago are removed first.

    Args:
        folder: folder of the copies.
        max_bytes: largest size of all copies. The latest ones are kept even if they need more.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def get(self, address: str) -> Path:
        """Return the path of the copy of an object, which has the object's name.

        Raises:
            FileNotFoundError: if there is no such object.
            StoreError: if it cannot be read.
        """
        files, path = filesystem(address)
        # A thread that reads ahead may be copying it.
        with _LOCKS[address]:
            return self._get(address, files, path)

    def _get(self, address: str, files: Any, path: str) -> Path:
        while True:
            copy, is_new = retried(partial(self._find_or_copy, address, files, path), 'read', address)
            # Another process may remove a new one before it is used.
            if not is_new:
                return copy

    def _find_or_copy(self, address: str, files: Any, path: str) -> tuple[Path, bool]:
        """Return the path of the copy of the object as it is now, and whether it was made just now."""
        found = _info(files, path)
        copy = self._copy_of(address, path, found)
        with suppress(FileNotFoundError):
            if file_size(copy) == found['size']:
                # It is kept for a while from now on, unless another process has just removed it.
                with suppress(PermissionError):
                    os.utime(copy)
                if file_size(copy) == found['size']:
                    return copy, False
        self._make_room(found['size'])
        self._download(files, path, found, copy)
        return copy, True

    def _copy_of(self, address: str, path: str, found: dict) -> Path:
        # All that the store tells, such as an ETag, a version or a time: an object of equal size may be new.
        if found.keys() <= _NO_VERSION:
            raise StoreError(
                f'{public_address(address)}: the server sends neither an ETag nor a time of its objects, so '
                'a changed object could not be told from its copy: use another server, or local files'
            )
        identity = repr((address, sorted(_without_url(found).items(), key=lambda item: item[0])))
        digest = blake2b(identity.encode(), digest_size=12).hexdigest()
        return self.folder / digest / PurePosixPath(path).name

    @staticmethod
    def _download(files: Any, path: str, found: dict, copy: Path) -> None:
        part = copy.with_name(f'{copy.name}.{uuid4().hex}.partial')
        try:
            with _opened(part) as file:
                for start in range(0, found['size'], PIECE):
                    end = min(start + PIECE, found['size'])
                    is_whole = (start, end) == (0, found['size'])
                    # fsspec's own download of a large object does not check its parts.
                    piece = {} if is_whole else dict(start=start, end=end)
                    content = files.cat_file(path, **piece)
                    if len(content) != end - start:
                        raise OSError(f'{len(content):,} bytes arrived, and {end - start:,} were asked for')
                    file.write(content)
            if _without_url(_info(files, path)) != _without_url(found):
                raise OSError('it was changed meanwhile')
            try:
                os.replace(part, copy)
            except FileNotFoundError as error:
                raise OSError(f'{part} was removed meanwhile') from error
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Remove the copies that were asked for longest ago, until a new one fits, on the disk too."""
        used, now, total = [], time.time(), 0
        if not self.folder.is_dir():
            return
        folders = [folder for folder in self.folder.iterdir() if _FOLDER.fullmatch(folder.name)]
        for file in (file for folder in folders for file in folder.glob('*')):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            used.append((status.st_mtime, status.st_size, file))
            total += status.st_size
        largest = min(self.max_bytes, total + shutil.disk_usage(self.folder).free) - size
        for modified, bytes_, file in sorted(used):
            is_part = file.suffix == '.partial'
            if now - modified < (ABANDONED if is_part else RECENT) or (total <= largest and not is_part):
                continue
            # It may be another user's.
            with suppress(OSError):
                file.unlink()
                total -= bytes_
        for folder in folders:
            # Another process may be about to write into a new one; one that is not empty stays.
            with suppress(OSError):
                if now - folder.stat().st_mtime > RECENT:
                    folder.rmdir()


def local_copies() -> LocalCopies:
    """Return the copies in the folder `LFI_COPIES`, of at most `LFI_COPIES_GB`.

    Raises:
        StoreError: if the size is no number above 0.
    """
    folder = os.environ.get(COPIES) or Path.home() / '.cache' / 'lfi' / 'copies'
    text = os.environ.get(COPIES_GB, '20')
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < math.inf:
        raise StoreError(f'{COPIES_GB}={text} must be a number above 0: gigabytes of the local copies')
    # A folder of its own: what else lies there stays.
    return LocalCopies(Path(folder) / 'lfi_copies', int(gigabytes * 1e9))


def local_path(path: str) -> Path:
    """Return a local path as it is, and for an address the path of a local copy; see `LocalCopies.get`."""
    return local_copies().get(path) if is_address(path) else Path(path)


def read_ahead(groups: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield groups of paths, while the addresses of the next group are copied.

    A failure is not raised here, but where the copy is asked for.
    """
    with ThreadPoolExecutor(1) as pool:
        for group, following in zip(groups, [*groups[1:], ()]):
            for path in following:
                if is_address(path):
                    pool.submit(local_path, path)
            yield group


def _local_files(folder: Path) -> Iterator[tuple[str, Entry]]:
    for path in folder.glob('[!.]*'):
        # Another process may replace it.
        with suppress(FileNotFoundError):
            status = path.stat()
            if path.is_file():
                yield path.name, Entry(path.name, status.st_size, status.st_mtime)


def _is_missing(error: Exception) -> bool:
    """Whether there is no such object. fsspec also says so of other answers of a web server."""
    return isinstance(error, FileNotFoundError) and (_status(error) or 404) in _GONE


def _status(error: Exception) -> int | None:
    """Return the status of a web server's answer, None without one."""
    return getattr(error, 'status', None) or getattr(error.__cause__, 'status', None)


def _opened(part: Path) -> BinaryIO:
    """Open a new file of the local copies.

    Raises:
        StoreError: if it cannot be written.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open('wb')
    except FileNotFoundError as error:
        raise OSError(f'{part.parent} was removed meanwhile') from error
    except OSError as error:
        raise StoreError(f'{part} cannot be written ({error.strerror}): set {COPIES} anew') from error


def _info(files: Any, path: str) -> dict:
    # Some file systems answer from their listings.
    files.invalidate_cache()
    found: dict = files.info(path)
    if found['type'] != 'file' or found.get('size') is None:
        raise IsADirectoryError(f'it is a {found["type"]}, and no object of a known size')
    return found


def _without_url(found: dict) -> dict:
    return {key: value for key, value in found.items() if key != 'url'}


def _modified(item: dict) -> float:
    keys = ('LastModified', 'mtime', 'updated', 'created')
    value: Any = next((item[key] for key in keys if item.get(key)), math.nan)
    return value.timestamp() if hasattr(value, 'timestamp') else float(value)


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, without what may be a signature."""
    if (status := _status(error)) in _REFUSED:
        return f'access is refused (status {status})'
    line = next(iter(str(error).strip().splitlines()), '') or type(error).__name__
    return re.sub(r'\?\S+', '', _USER.sub(r'\1', line))[:300].rstrip('.')
