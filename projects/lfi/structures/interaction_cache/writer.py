"""Writer of the shards of a cache; `lfi.apis.caching` computes their maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lfi.utils.stores import join, list_files, local_path, write_file

from ..packed_maps import is_missing
from .files import CacheError, checksum, find_file, load_texts, npy_bytes, shard_file
from .index import write_index
from .manifest import CacheManifest
from .shards import Shard, shard_bytes

TEXT_TOLERANCE = 1e-4
"""Largest distance between embeddings of one text by the same weights on different hardware."""


class CacheWriter:
    """Writer of a cache. It continues an unfinished cache and writes at most one shard again.

    Several processes may write different shards at once, after one of them has opened the folder.

    Args:
        folder: folder of the cache, made if it does not exist; or its address in a store.
        manifest: manifest of the cache.
        texts: (C, E) float32, embeddings of the concepts.

    Raises:
        CacheError: if the folder has a cache with another manifest, or shards without a manifest.
        StoreError: if the store cannot be read or written.
    """

    def __init__(self, folder: str | Path, manifest: CacheManifest, texts: np.ndarray) -> None:
        self.folder, self.manifest = str(folder), manifest
        # List the shards first: another process may write a shard as soon as there is a manifest.
        files = list_files(self.folder)
        shards = sorted(name for name in files if name.endswith('.safetensors'))
        # Not by the listing, which may be late.
        if find_file(folder, 'manifest.json') is not None:
            existing = CacheManifest.read(folder)
            mismatch = existing.difference(manifest) or texts_difference(
                load_texts(folder, existing.texts), texts, existing.concepts
            )
            if mismatch:
                raise CacheError(
                    f'{folder} holds other maps: {mismatch}. Choose another folder, or remove it'
                )
            # The digest of the texts may differ in rounding.
            self.manifest = existing
            return
        if shards:
            raise CacheError(
                f'{folder} has shards ({shards[0]}) but no manifest.json: choose another folder, or remove it'
            )
        write_file(join(self.folder, 'texts.npy'), npy_bytes(texts))
        text = json.dumps(manifest.content(), indent=1, ensure_ascii=False)
        write_file(join(self.folder, 'manifest.json'), text.encode())

    def has_file(self, name: str) -> bool:
        """Whether there is a file of a shard, complete or damaged, given its name."""
        return (Path(self.folder) / name).exists()

    def opened(self, name: str, keys: np.ndarray | None = None) -> Shard | None:
        """Open a shard; None if it is damaged.

        Args:
            name: name of its file.
            keys: (n,) uint64, keys of the images that the shard must hold. Defaults to None: any images.

        Raises:
            CacheError: if the shard holds other images.
        """
        try:
            opened = Shard(local_path(join(self.folder, name)), self.manifest)
        except (CacheError, FileNotFoundError):
            return None
        if keys is not None and opened.keys_digest != checksum(keys.tobytes()):
            raise CacheError(
                f'{self.folder} was written for other data: {name} holds other images. Choose another '
                'folder, or remove it'
            )
        return opened

    def write(self, name: str, keys: np.ndarray, records: np.ndarray) -> None:
        """Write a shard.

        Args:
            name: name of its file, from `shard_name` or `sidecar_name`.
            keys: (n,) uint64, keys of its images.
            records: (n, K) of `CacheManifest.record_dtype`; those of unreadable images from
                `missing_records`.
        """
        unreadable = np.flatnonzero(is_missing(records[:, 0])).tolist()
        write_file(join(self.folder, name), shard_bytes(self.manifest, keys, records, unreadable))

    def finish(self) -> None:
        """Write the index from the keys in the shards. One process calls it, after all shards are written.

        Raises:
            CacheError: if a shard is missing or corrupted, or two images have the same key.
        """
        shards = range(self.manifest.num_shards)
        folder = Path(self.folder)
        keys = [Shard(shard_file(folder, shard), self.manifest).keys() for shard in shards]
        write_index(folder, np.concatenate(keys))


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
