"""Shards of a cache: safetensors files, each with the records of some images, in the order of the images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lfi.utils.fileio import is_nonempty_file

from .files import CacheError, checksum
from .manifest import CacheManifest
from .records import add_checksums, has_checksum

HEADER = 'lfi.cache'
MAX_HEADER = 100_000_000
"""Most bytes of a header in safetensors."""
OPEN_ERRORS = (OSError, ValueError, SafetensorError)


class Shard:
    """A shard, opened for reading. Its header is checked here, and each record where it is read.

    The file has two tensors: `keys` (n,) uint64, and `records` (n, K, bytes) uint8, K views of n images. Its
    metadata hold a JSON object under `lfi.cache`: `cache`, the digest of the manifest; `keys`, the checksum
    of the keys; `unreadable`, the positions of images that could not be read.

    Args:
        path: path of the file.
        manifest: manifest of the cache.
        address: address of the file for messages, if `path` is a copy. Defaults to None: `path`.

    Raises:
        CacheError: if the file is missing or corrupted, or of another cache.
    """

    def __init__(self, path: Path, manifest: CacheManifest, address: str | None = None) -> None:
        self.place, self.manifest = address or str(path), manifest
        try:
            if not is_nonempty_file(path):
                raise OSError('it is missing or empty')
            file = safe_open(path, 'numpy')
            names = sorted(file.keys())
            if names != ['keys', 'records']:
                raise ValueError(f'it has the tensors {names}')
            header = _read_header(file.metadata() or {})
            self._records, keys = file.get_slice('records'), file.get_slice('keys')
            num_images = keys.get_shape()[0]
            expected = ([num_images, manifest.views, manifest.record_dtype.itemsize], 'U8')
            found = (self._records.get_shape(), self._records.get_dtype())
            if found != expected or keys.get_dtype() != 'U64' or len(keys.get_shape()) != 1:
                raise ValueError(f'its records are {found}, and the manifest names {expected}')
            self.unreadable: list[int] = header['unreadable']
            if not all(type(i) is int and 0 <= i < num_images for i in self.unreadable):
                raise ValueError('its `unreadable` is no list of positions')
        except OPEN_ERRORS as error:
            raise CacheError(f'{self.place} is missing or corrupted: {error}. {self.fix}') from error
        if header['cache'] != manifest.digest:
            raise CacheError(
                f'{self.place} is a shard of another cache: its header names another manifest. {self.fix}'
            )
        self.num_images, self.keys_digest = num_images, header['keys']
        self._keys = keys

    @property
    def fix(self) -> str:
        """Advice for a corrupted shard."""
        return f'Remove {PurePath(self.place).name} and run lfi cache again: it rewrites this shard'

    def keys(self) -> np.ndarray:
        """Read the keys (n,) uint64 of the images.

        Raises:
            CacheError: if the keys have changed.
        """
        keys: np.ndarray = self._keys[:]
        if checksum(keys.tobytes()) != self.keys_digest:
            raise CacheError(f'{self.place} is corrupted: its keys do not match its header. {self.fix}')
        return keys

    def record(self, position: int, key: int, view: int = 0) -> np.ndarray:
        """Read the record (1,) of one view of an image.

        Args:
            position: position of the image in the shard.
            key: key of the image, from `image_keys`.
            view: index of the view. Defaults to 0.

        Raises:
            CacheError: if the record has changed, or is of another image or view.
        """
        content = self._records[position : position + 1, view : view + 1]
        record: np.ndarray = content.reshape(-1).view(self.manifest.record_dtype)
        if not has_checksum(record, key, view, self.manifest.digest):
            raise CacheError(
                f'{self.place} is corrupted or was changed: the record of its image {position}, view {view}, '
                f'does not match its checksum. {self.fix}'
            )
        return record


def starts_shard(content: bytes, size: int, manifest: CacheManifest) -> bool | None:
    """Whether the first bytes of a file are those of a shard of a cache, all of whose images were readable.

    Args:
        content: first bytes of the file.
        size: size of the file in bytes.
        manifest: manifest of the cache.

    Returns:
        None if more bytes are needed. False for a file that is longer or shorter than its header says.
    """
    # safetensors: the length of a JSON object, in 8 bytes, and the object.
    end = 8 + int.from_bytes(content[:8], 'little')
    if end > min(size, MAX_HEADER):
        return False
    if len(content) < end:
        return None
    try:
        tensors = json.loads(content[8:end].decode())
        header = _read_header(tensors.pop('__metadata__'))
        is_complete = end + max(tensor['data_offsets'][1] for tensor in tensors.values()) == size
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return False
    is_shard = sorted(tensors) == ['keys', 'records'] and header['cache'] == manifest.digest
    return is_shard and is_complete and not header['unreadable']


def shard_bytes(
    manifest: CacheManifest, keys: np.ndarray, records: np.ndarray, unreadable: list[int]
) -> bytes:
    """Return the content of a shard's file.

    Args:
        manifest: manifest of the cache.
        keys: (n,) uint64, from `image_keys`.
        records: (n, K) of `CacheManifest.record_dtype`. Their checksums are set here.
        unreadable: positions of the images that could not be read.
    """
    add_checksums(records, keys, manifest.digest)
    tensors = {
        'keys': keys,
        'records': records.view(np.uint8).reshape(*records.shape, manifest.record_dtype.itemsize),
    }
    header = {'cache': manifest.digest, 'keys': checksum(keys.tobytes()), 'unreadable': unreadable}
    # One entry, since safetensors writes several in any order.
    content: bytes = save(tensors, {HEADER: json.dumps(header)})
    return content


def _read_header(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read the header of a shard.

    Raises:
        ValueError: if the header is missing or corrupted.
    """
    try:
        header = json.loads(metadata.get(HEADER, ''))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not (
        isinstance(header.get('cache'), str)
        and isinstance(header.get('keys'), str)
        and isinstance(header.get('unreadable'), list)
    ):
        raise ValueError(f'its metadata have no header of a cache ({HEADER})')
    return header
