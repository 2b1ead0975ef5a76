"""Writer of the shards of a cache; `lfi.apis.caching` computes their maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lfi.utils.fileio import AtomicLocalBackend

from ..packed_maps import is_missing
from .files import (
    READ_ERRORS,
    CacheError,
    checksum,
    checksum_file,
    load_keys,
    load_texts,
    npy_bytes,
    read_npy,
    read_unreadable,
    shard_file,
    unreadable_file,
)
from .manifest import CacheManifest

TEXT_TOLERANCE = 1e-4
"""Largest distance between embeddings of one text by the same weights on different hardware."""


class CacheWriter:
    """Writer of a cache. It continues an unfinished cache and writes at most one shard again.

    Several processes may write different shards at once, after one of them has opened the folder.

    Args:
        folder: folder of the cache; made if it does not exist.
        manifest: manifest of the cache.
        keys: (N,) uint64, from `image_keys`.
        texts: (C, E) float32, embeddings of the concepts.

    Raises:
        CacheError: if the folder has a cache with another manifest, or shards without a manifest.
    """

    def __init__(self, folder: Path, manifest: CacheManifest, keys: np.ndarray, texts: np.ndarray) -> None:
        self.folder, self.manifest = folder, manifest
        self._files = AtomicLocalBackend()
        # List the shards first: another process may write a shard as soon as there is a manifest.
        shards = sorted(folder.glob('shard-*'))
        if (folder / 'manifest.json').exists():
            existing = CacheManifest.read(folder)
            mismatch = existing.difference(manifest) or texts_difference(
                load_texts(folder, existing.texts), texts, existing.concepts
            )
            if mismatch:
                raise CacheError(
                    f'{folder} holds other maps: {mismatch}. Choose another folder, or remove it'
                )
            # Lost or corrupted keys can be written again: the manifest has their checksum.
            if not _has_keys(folder, manifest):
                self._files.put(npy_bytes(keys), folder / 'keys.npy')
            return
        if shards:
            raise CacheError(
                f'{folder} has shards ({shards[0].name}) but no manifest.json: choose another folder, or '
                'remove it'
            )
        for name, array in (('keys.npy', keys), ('texts.npy', texts)):
            self._files.put(npy_bytes(array), folder / name)
        text = json.dumps(manifest.content(), indent=1, ensure_ascii=False)
        self._files.put(text.encode(), folder / 'manifest.json')

    def is_done(self, shard: int) -> bool:
        """Whether a shard is complete. Only the reader verifies its checksum."""
        path = checksum_file(self.folder, shard)
        if not path.is_file() or not path.stat().st_size:
            return False
        try:
            records = read_npy(shard_file(self.folder, shard), self.manifest.dtype, mmap_mode='r')
        except READ_ERRORS:
            return False
        return records.shape == (len(self.manifest.rows(shard)),)

    def unreadable_images(self, shard: int) -> list[int]:
        """Return the indices in the cache of a shard's images that could not be read."""
        rows = self.manifest.rows(shard)
        return [rows[index] for index in read_unreadable(self.folder, shard) if 0 <= index < len(rows)]

    def images_with_maps(self) -> np.ndarray:
        """Return a mask (N,) of the images that have maps in a complete shard."""
        mask = np.zeros(self.manifest.num_images, bool)
        for shard in filter(self.is_done, range(self.manifest.num_shards)):
            rows = self.manifest.rows(shard)
            mask[rows.start : rows.stop] = True
            mask[self.unreadable_images(shard)] = False
        return mask

    def write(self, shard: int, records: np.ndarray) -> None:
        """Write the records of a shard."""
        content, unreadable = npy_bytes(records), np.flatnonzero(is_missing(records)).tolist()
        # A shard whose rewriting is interrupted counts as missing.
        checksum_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(content, shard_file(self.folder, shard))
        if unreadable:
            self._files.put(json.dumps(unreadable).encode(), unreadable_file(self.folder, shard))
        else:
            unreadable_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(checksum(content).encode(), checksum_file(self.folder, shard))


def _has_keys(folder: Path, manifest: CacheManifest) -> bool:
    """Whether a cache has the keys of its manifest."""
    try:
        load_keys(folder, manifest.data)
    except CacheError:
        return False
    return True


def texts_difference(cached: np.ndarray, expected: np.ndarray, concepts: Sequence[str]) -> str | None:
    """Describe the concept whose embeddings differ most; None if the difference is rounding.

    Args:
        cached: (C, E) float32, unit embeddings in the cache.
        expected: (C, E) float32, unit embeddings of the same concepts.
        concepts: names of the C concepts.
    """
    if cached.shape != expected.shape:
        return f'texts have the shape {cached.shape} in the cache, {expected.shape} here'
    distance = np.linalg.norm(cached - expected, axis=1)
    worst = int(distance.argmax())
    if distance[worst] <= TEXT_TOLERANCE:
        return None
    name = repr(concepts[worst]) if worst < len(concepts) else f'number {worst}'
    return (
        f'the embedding of concept {name} in the cache differs by {distance[worst]:.3g} from the one here; '
        f'rounding explains at most {TEXT_TOLERANCE:g}'
    )
