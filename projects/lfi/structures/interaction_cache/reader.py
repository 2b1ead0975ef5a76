"""Reader of a cache of interaction maps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfi.utils.fileio import is_nonempty_file
from lfi.utils.folders import resolved_path
from lfi.utils.repositories import cache_folder

from ..interaction_maps import OTHER
from ..packed_maps import is_missing
from ..tiles import Tiles
from .files import (
    READ_ERRORS,
    REDO,
    CacheError,
    checksum,
    checksum_file,
    checksum_of,
    load_keys,
    load_texts,
    read_checksum,
    read_npy,
    shard_file,
    unreadable_file,
)
from .keys import file_sizes, image_keys, load_sizes, refuse_other_files
from .manifest import CacheManifest

UNIT_TOLERANCE = 1e-3
"""Largest deviation of an embedding's length from 1; rounding to half precision causes less."""


class StoredMaps(NamedTuple):
    """Cached maps of one picture, on their way from a data worker to the model.

    Args:
        record: (n,) records of the n images in the picture, for `unpack`.
        cache_digest: digest of the cache's manifest.
        tiles: placement of the n images. Defaults to None: the picture shows one image.
    """

    record: np.ndarray
    cache_digest: str
    tiles: Tiles | None = None


class InteractionCache:
    """A complete cache of interaction maps. The checksum of a shard is verified when it is first read.

    Args:
        folder: folder of the cache, or a dataset of the Hugging Face Hub, `hf://datasets/user/name`, to
            download.

    Raises:
        CacheError: if the cache is missing, unfinished or corrupted.
        HubError: if the download fails.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = cache_folder(folder)
        self.manifest = CacheManifest.read(self.folder)
        # Check the number of images before listing the shards: a manifest can name any number.
        self._keys = load_keys(self.folder, self.manifest.data)
        if self._keys.shape != (self.manifest.num_images,):
            raise CacheError(
                f'{folder} is corrupted: keys.npy has the shape {self._keys.shape}, and manifest.json '
                f'num_images={self.manifest.num_images}. {REDO}'
            )
        missing = [i for i in range(self.manifest.num_shards) if not checksum_file(self.folder, i).is_file()]
        if missing:
            raise CacheError(
                f'{folder} is unfinished: {len(missing)} of {self.manifest.num_shards} shards are missing, '
                f'the first is {missing[0]}. lfi cache with the same arguments continues it'
            )
        self.text_embeddings = load_texts(self.folder, self.manifest.texts)
        num_concepts, shape = len(self.manifest.concepts), self.text_embeddings.shape
        # The user's own teacher may name no concepts.
        if len(shape) != 2 or 0 in shape or num_concepts not in (0, shape[0]):
            raise CacheError(
                f'{folder} is corrupted: texts.npy has the shape {shape}, and manifest.json names '
                f'{num_concepts} concepts. {REDO}'
            )
        if not (abs(np.linalg.norm(self.text_embeddings, axis=1) - 1) <= UNIT_TOLERANCE).all():
            raise CacheError(
                f'{folder} is corrupted: texts.npy has embeddings that are not of unit length. {REDO}'
            )
        self._sizes = load_sizes(self.folder, self.manifest.num_images)
        self._order = np.argsort(self._keys)
        self._sorted_keys = self._keys[self._order]
        if (self._sorted_keys[1:] == self._sorted_keys[:-1]).any():
            raise CacheError(f'{folder} is corrupted: keys.npy has an image twice. {REDO}')
        self._shards: dict[int, np.ndarray] = {}
        # For each record, the digest of the path that it was first read for.
        self._path_digests = np.zeros(len(self._keys), np.int64)

    def __repr__(self) -> str:
        images, texts = self.manifest.num_images, len(self.text_embeddings)
        size = f'{self.num_bytes / 1e6:,.1f} MB'
        return f'InteractionCache({str(self.folder)!r}, {images:,} images, {texts:,} texts, {size})'

    @cached_property
    def digest(self) -> str:
        """Digest of the manifest, which differs between caches of other images or teachers."""
        return checksum(json.dumps(self.manifest.content(), sort_keys=True).encode())

    @property
    def files(self) -> list[Path]:
        """Paths of all files of the cache; `sizes.npy` and the lists of unreadable images are optional."""
        names = ('manifest.json', 'keys.npy', 'sizes.npy', 'texts.npy')
        path_functions = (shard_file, checksum_file, unreadable_file)
        shards = range(self.manifest.num_shards)
        return [
            *(self.folder / name for name in names),
            *(get_path(self.folder, shard) for shard in shards for get_path in path_functions),
        ]

    def stored(self, paths: Sequence[str], tiles: Tiles | None = None) -> StoredMaps:
        """Read the maps of the images in a picture. Raises the errors of `read`.

        Args:
            paths: paths of the n images.
            tiles: placement of the images. Defaults to None: the picture shows one image.
        """
        return StoredMaps(self.read(paths), self.digest, tiles)

    def read(self, paths: Sequence[str]) -> np.ndarray:
        """Read the records (n,) of images by their paths.

        Raises:
            CacheError: if an image is not in the cache, or was unreadable when the cache was written; if it
                has the key of another image, or its size has changed; or if a shard is corrupted.
        """
        keys = image_keys(paths, self.manifest.name_parts)
        positions = np.searchsorted(self._sorted_keys, keys).clip(max=len(self._sorted_keys) - 1)
        unknown = self._sorted_keys[positions] != keys
        if unknown.any():
            raise CacheError(
                f'{self.folder} has no maps of {paths[int(unknown.argmax())]}: it was written for other data '
                f'({self.manifest.num_images} images). Run lfi cache for these data'
            )
        rows = self._order[positions]
        self._refuse_namesakes(paths, rows)
        places = [divmod(int(row), self.manifest.shard_size) for row in rows]
        # Read the shards first: they confirm the manifest's dtype before memory for it is allocated.
        views = [self.shard(shard)[index : index + 1] for shard, index in places]
        records = np.empty(len(paths), self.manifest.dtype)
        for i, view in enumerate(views):
            records[i] = view[0]
        missing = is_missing(records)
        if missing.any():
            raise CacheError(
                f'{self.folder} has no maps of {paths[int(missing.argmax())]}: it could not be read when the '
                'cache was written. lfi cache with the same arguments adds what is readable now'
            )
        if self._sizes is not None:
            refuse_other_files(self.folder, paths, self._sizes[rows], file_sizes(paths))
        return records

    def _refuse_namesakes(self, paths: Sequence[str], rows: np.ndarray) -> None:
        """Raise a CacheError if images of two folders have the same record."""
        digests = np.array([_digest(resolved_path(path)) for path in paths], np.int64)
        # 0 marks a record that was never read; in practice no digest is 0.
        previous = self._path_digests[rows]
        differs = (previous != 0) & (previous != digests)
        if differs.any():
            path = paths[int(differs.argmax())]
            raise CacheError(
                f'{self.folder} identifies images by the last {self.manifest.name_parts} parts of their '
                f'paths, and {path} shares these with another image: the cache was written for the folder of '
                'one of the two. Run lfi cache for both folders together'
            )
        self._path_digests[rows] = digests

    def shard(self, shard: int) -> np.ndarray:
        """Return the records of a shard, memory-mapped.

        Raises:
            CacheError: if the shard's file does not match its checksum or the manifest.
        """
        if shard not in self._shards:
            path = shard_file(self.folder, shard)
            expected = read_checksum(self.folder, shard)
            if not is_nonempty_file(path) or checksum_of(path) != expected:
                raise CacheError(
                    f'{path} is corrupted or was changed: it does not match its checksum. Remove '
                    f'{checksum_file(self.folder, shard).name} and run lfi cache again: it rewrites this '
                    'shard'
                )
            try:
                records = read_npy(path, self.manifest.dtype, mmap_mode='r')
            except READ_ERRORS as error:
                raise CacheError(
                    f'{path} does not hold the records that the manifest names: {error}. {REDO}'
                ) from error
            if records.shape != (len(self.manifest.rows(shard)),):
                raise CacheError(
                    f'{path} does not hold the records that the manifest names: it has the shape '
                    f'{records.shape}, not ({len(self.manifest.rows(shard))},). {REDO}'
                )
            _refuse_invalid_values(path, records)
            if self.manifest.has_chosen_concepts:
                _refuse_unknown_concepts(path, records['concepts'], len(self.text_embeddings))
            self._shards[shard] = records
        return self._shards[shard]

    @cached_property
    def num_bytes(self) -> int:
        """Size of all files in bytes."""
        return sum(path.stat().st_size for path in self.files if path.is_file())


def _refuse_invalid_values(path: Path, records: np.ndarray) -> None:
    """Raise a CacheError if a record of a shard has values that `pack` cannot produce."""
    low, step, presence = records['low'], records['step'], records['presence']
    valid = (np.isfinite(low) & np.isfinite(step) & (step >= 0)).all((1, 2))
    valid &= ((presence >= 0) & (presence <= 1)).all(1)
    invalid = ~(valid | is_missing(records))
    if invalid.any():
        raise CacheError(
            f'{path} is corrupted: its record {int(invalid.argmax())} has logits that are not finite, or a '
            f'presence outside [0, 1]. {REDO}'
        )


def _refuse_unknown_concepts(path: Path, concepts: np.ndarray, count: int) -> None:
    """Raise a CacheError if a shard has concepts (n, M) that are neither below `count` nor `OTHER`."""
    unknown = concepts[(concepts < OTHER) | (concepts >= count)]
    if len(unknown):
        raise CacheError(
            f'{path} has maps of concept {unknown[0]}, but the cache has only {count} concepts. {REDO}'
        )


def _digest(path: str) -> int:
    """Hash a path, equally in all processes (unlike `hash`)."""
    name = path.encode(errors='surrogateescape')
    return int.from_bytes(blake2b(name, digest_size=8).digest(), 'little', signed=True)
