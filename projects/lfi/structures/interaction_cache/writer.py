"""Writing a cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lfi.fileio import AtomicLocalBackend

from ..packed_maps import lacks_maps
from .error import CacheError
from .files import checksum, checksum_file, load_array, npy_bytes, shard_file, unread_file
from .manifest import CacheManifest

TEXT_TOLERANCE = 1e-4
"""Largest distance of two unit embeddings of one text by the same weights on different hardware."""


class CacheWriter:
    """Writes a cache; what a killed writer left is kept, and at most one shard of it is done again.

    Several processes may write at once, each its own shards; one of them must have opened the folder first.

    Args:
        folder: where the cache is, or will be.
        manifest: what it holds.
        keys: (N,) uint64 of `keys_of`.
        texts: (C, E) float32.

    Raises:
        CacheError: if the folder holds a cache of anything else; the message says what differs.
    """

    def __init__(self, folder: Path, manifest: CacheManifest, keys: np.ndarray, texts: np.ndarray) -> None:
        self.folder, self.manifest = folder, manifest
        self._files = AtomicLocalBackend()
        if (folder / 'manifest.json').exists():
            existing = CacheManifest.read(folder)
            found = existing.difference(manifest) or texts_difference(
                load_array(folder, 'texts.npy', existing.texts), texts, existing.concepts
            )
            if found:
                raise CacheError(f'{folder} holds other maps: {found}. Choose another folder, or remove it')
            return
        for name, array in (('keys.npy', keys), ('texts.npy', texts)):
            self._files.put(npy_bytes(array), folder / name)
        text = json.dumps(manifest.content(), indent=1, ensure_ascii=False)
        self._files.put(text.encode(), folder / 'manifest.json')

    def is_done(self, shard: int) -> bool:
        """Whether a shard is written."""
        return checksum_file(self.folder, shard).is_file()

    def unread(self, shard: int) -> list[int]:
        """Which images, of all, a written shard has no maps of, because they could not be read."""
        path = unread_file(self.folder, shard)
        return [self.manifest.rows(shard)[i] for i in json.loads(path.read_text())] if path.is_file() else []

    def write(self, shard: int, records: np.ndarray) -> None:
        """Write a shard's records."""
        content, unread = npy_bytes(records), np.flatnonzero(lacks_maps(records)).tolist()
        # A shard that is written anew, and not to its end, counts as missing.
        checksum_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(content, shard_file(self.folder, shard))
        if unread:
            self._files.put(json.dumps(unread).encode(), unread_file(self.folder, shard))
        else:
            unread_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(checksum(content).encode(), checksum_file(self.folder, shard))


def texts_difference(cached: np.ndarray, wanted: np.ndarray, concepts: Sequence[str]) -> str | None:
    """The concept whose embeddings differ most, and by how much; None if rounding explains it.

    Args:
        cached: (C, E) float32, unit embeddings.
        wanted: likewise, of the same concepts.
        concepts: their C names.
    """
    if cached.shape != wanted.shape:
        return f'texts have the shape {cached.shape} in the cache, {wanted.shape} here'
    distance = np.linalg.norm(cached - wanted, axis=1)
    worst = int(distance.argmax())
    if distance[worst] <= TEXT_TOLERANCE:
        return None
    name = repr(concepts[worst]) if worst < len(concepts) else f'number {worst}'
    return (
        f'the embedding of concept {name} in the cache is {distance[worst]:.3g} away from the one here, '
        f'where at most {TEXT_TOLERANCE:g} is rounding'
    )
