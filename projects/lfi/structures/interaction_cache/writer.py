"""Writing the shards of a cache; `lfi.apis.caching` asks the teacher for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lfi.utils.fileio import AtomicLocalBackend

from ..packed_maps import is_missing
from .files import (
    UNREADABLE,
    CacheError,
    checksum,
    checksum_file,
    load_keys,
    load_texts,
    npy_bytes,
    read_npy,
    read_unread,
    shard_file,
    unread_file,
)
from .manifest import CacheManifest

TEXT_TOLERANCE = 1e-4
"""Largest distance of two unit embeddings of one text by the same weights on different hardware."""


class CacheWriter:
    """Writes a cache; what a killed writer left is kept, and at most one shard of it is done again.

    Several processes may write at once, each its own shards; one of them must have opened the folder first.

    Args:
        folder: where the cache is, or will be.
        manifest: what it holds.
        keys: (N,) uint64 of `image_keys`.
        texts: (C, E) float32.

    Raises:
        CacheError: if the folder holds a cache of anything else; the message says what differs. And if it
            holds shards without a manifest, which may be of anything.
    """

    def __init__(self, folder: Path, manifest: CacheManifest, keys: np.ndarray, texts: np.ndarray) -> None:
        self.folder, self.manifest = folder, manifest
        self._files = AtomicLocalBackend()
        # Looked for first: another process may write the first shard once the manifest is there.
        shards = sorted(folder.glob('shard-*'))
        if (folder / 'manifest.json').exists():
            existing = CacheManifest.read(folder)
            found = existing.difference(manifest) or texts_difference(
                load_texts(folder, existing.texts), texts, existing.concepts
            )
            if found:
                raise CacheError(f'{folder} holds other maps: {found}. Choose another folder, or remove it')
            # What is lost of these can be told, for the manifest has their digest.
            if not _has_keys(folder, manifest):
                self._files.put(npy_bytes(keys), folder / 'keys.npy')
            return
        if shards:
            raise CacheError(
                f'{folder} has shards and no manifest.json that says whose they are, {shards[0].name} first: '
                'choose another folder, or remove it'
            )
        for name, array in (('keys.npy', keys), ('texts.npy', texts)):
            self._files.put(npy_bytes(array), folder / name)
        text = json.dumps(manifest.content(), indent=1, ensure_ascii=False)
        self._files.put(text.encode(), folder / 'manifest.json')

    def is_done(self, shard: int) -> bool:
        """Whether a shard is written, as far as that is seen without reading it: a reader sees the rest."""
        noted = checksum_file(self.folder, shard)
        if not noted.is_file() or not noted.stat().st_size:
            return False
        try:
            records = read_npy(shard_file(self.folder, shard), self.manifest.dtype, mmap_mode='r')
        except UNREADABLE:
            return False
        return records.shape == (len(self.manifest.rows(shard)),)

    def unread(self, shard: int) -> list[int]:
        """Which images, of all, a written shard has no maps of, because they could not be read."""
        rows = self.manifest.rows(shard)
        return [rows[place] for place in read_unread(self.folder, shard) if 0 <= place < len(rows)]

    def have_maps(self) -> np.ndarray:
        """Which images, of all, have maps in a written shard, (N,) bool."""
        found = np.zeros(self.manifest.num_images, bool)
        for shard in filter(self.is_done, range(self.manifest.num_shards)):
            rows = self.manifest.rows(shard)
            found[rows.start : rows.stop] = True
            found[self.unread(shard)] = False
        return found

    def write(self, shard: int, records: np.ndarray) -> None:
        """Write a shard's records."""
        content, unread = npy_bytes(records), np.flatnonzero(is_missing(records)).tolist()
        # A shard that is written anew, and not to its end, counts as missing.
        checksum_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(content, shard_file(self.folder, shard))
        if unread:
            self._files.put(json.dumps(unread).encode(), unread_file(self.folder, shard))
        else:
            unread_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(checksum(content).encode(), checksum_file(self.folder, shard))


def _has_keys(folder: Path, manifest: CacheManifest) -> bool:
    """Whether the keys of a cache are there, and are those of its manifest."""
    try:
        load_keys(folder, manifest.data)
    except CacheError:
        return False
    return True


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
