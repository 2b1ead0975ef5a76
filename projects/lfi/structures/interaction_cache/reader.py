"""Reading a cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfi.utils.fileio import holds_bytes
from lfi.utils.folders import resolved_path
from lfi.utils.repositories import cache_folder

from ..interaction_maps import OTHER
from ..packed_maps import is_missing
from ..tiles import Tiles
from .files import (
    ANEW,
    UNREADABLE,
    CacheError,
    checksum,
    checksum_file,
    checksum_of,
    load_keys,
    load_texts,
    read_checksum,
    read_npy,
    shard_file,
    unread_file,
)
from .keys import file_sizes, image_keys, load_sizes, refuse_other_files
from .manifest import CacheManifest

UNIT_TOLERANCE = 1e-3
"""By how much the length of a text's embedding may differ from 1: half precision rounds less."""


class StoredMaps(NamedTuple):
    """What a cache holds of what one picture shows, on its way from a worker to the model.

    Args:
        record: (n,) of the cache's dtype, as `unpack` takes it; n = 1 for an image.
        cache: digest of the cache's manifest.
        tiles: where the picture shows the n images. Defaults to None: all over it shows one, in its view.
    """

    record: np.ndarray
    cache: str
    tiles: Tiles | None = None


class InteractionCache:
    """Reads a finished cache. Each shard's checksum is verified when it is first read.

    Args:
        folder: where the cache is; or a dataset of the Hugging Face Hub, `hf://datasets/user/name`, which is
            downloaded.

    Raises:
        CacheError: if there is none, or it is unfinished or corrupted.
        HubError: if it cannot be downloaded.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = cache_folder(folder)
        self.manifest = CacheManifest.read(self.folder)
        # Before shards are counted: a manifest can name any number of images.
        self._keys = load_keys(self.folder, self.manifest.data)
        if self._keys.shape != (self.manifest.num_images,):
            raise CacheError(
                f'{folder} is corrupted: keys.npy has the shape {self._keys.shape}, and manifest.json '
                f'num_images={self.manifest.num_images}. {ANEW}'
            )
        missing = [i for i in range(self.manifest.num_shards) if not checksum_file(self.folder, i).is_file()]
        if missing:
            raise CacheError(
                f'{folder} is unfinished: {len(missing)} of {self.manifest.num_shards} shards are missing, '
                f'the first is {missing[0]}. lfi cache with the same arguments goes on with it'
            )
        self.texts = load_texts(self.folder, self.manifest.texts)
        named, shape = len(self.manifest.concepts), self.texts.shape
        # A teacher of the user's own may name no concepts.
        if len(shape) != 2 or 0 in shape or named not in (0, shape[0]):
            raise CacheError(
                f'{folder} is corrupted: texts.npy has the shape {shape}, and manifest.json names {named} '
                f'concepts. {ANEW}'
            )
        if not (abs(np.linalg.norm(self.texts, axis=1) - 1) <= UNIT_TOLERANCE).all():
            raise CacheError(
                f'{folder} is corrupted: texts.npy has embeddings that are not of unit length. {ANEW}'
            )
        self._sizes = load_sizes(self.folder, self.manifest.num_images)
        self._order = np.argsort(self._keys)
        self._sorted = self._keys[self._order]
        if (self._sorted[1:] == self._sorted[:-1]).any():
            raise CacheError(f'{folder} is corrupted: keys.npy has an image twice. {ANEW}')
        self._shards: dict[int, np.ndarray] = {}
        # Of each row the digest of the path that it was first read by.
        self._places = np.zeros(len(self._keys), np.int64)

    @cached_property
    def digest(self) -> str:
        """Of the manifest: caches of other images, or of another teacher, have another."""
        return checksum(json.dumps(self.manifest.content(), sort_keys=True).encode())

    @property
    def files(self) -> list[Path]:
        """All that belongs to it; `sizes.npy`, and what names unread images, need not be there."""
        names = ('manifest.json', 'keys.npy', 'sizes.npy', 'texts.npy')
        of_shard = (shard_file, checksum_file, unread_file)
        shards = range(self.manifest.num_shards)
        return [
            *(self.folder / name for name in names),
            *(file(self.folder, shard) for shard in shards for file in of_shard),
        ]

    def stored(self, paths: Sequence[str], tiles: Tiles | None = None) -> StoredMaps:
        """What is held of the images that a picture shows. Errors as `read`.

        Args:
            paths: of the images.
            tiles: where it shows them, as of `StoredMaps`. Defaults to None.
        """
        return StoredMaps(self.read(paths), self.digest, tiles)

    def read(self, paths: Sequence[str]) -> np.ndarray:
        """The records (n,) of images, by their paths.

        Raises:
            CacheError: if an image is not in the cache, or could not be read when that was written; if it has
                the name of another one that was read before, or another size than when the cache was written;
                or if a shard is corrupted.
        """
        keys = image_keys(paths, self.manifest.name_parts)
        found = np.searchsorted(self._sorted, keys).clip(max=len(self._sorted) - 1)
        unknown = self._sorted[found] != keys
        if unknown.any():
            raise CacheError(
                f'{self.folder} has no maps of {paths[int(unknown.argmax())]}: it was written for other data '
                f'({self.manifest.num_images} images). Write one for these by lfi cache'
            )
        rows = self._order[found]
        self._refuse_namesakes(paths, rows)
        places = [divmod(int(row), self.manifest.shard_size) for row in rows]
        # Their files say that a record is as large as the manifest says, before there is memory for any.
        found_in = [self.shard(shard)[index : index + 1] for shard, index in places]
        records = np.empty(len(paths), self.manifest.dtype)
        for i, record in enumerate(found_in):
            records[i] = record[0]
        unread = is_missing(records)
        if unread.any():
            raise CacheError(
                f'{self.folder} has no maps of {paths[int(unread.argmax())]}: it could not be read when the '
                'cache was written. lfi cache with the same arguments makes up for what can be '
                'read by now'
            )
        if self._sizes is not None:
            refuse_other_files(self.folder, paths, self._sizes[rows], file_sizes(paths))
        return records

    def _refuse_namesakes(self, paths: Sequence[str], rows: np.ndarray) -> None:
        """Raise a CacheError if images of two folders take one row for theirs."""
        places = np.array([_digest(resolved_path(path)) for path in paths], np.int64)
        # No digest is 0 in practice, and none is looked at before the first image of a row.
        known = self._places[rows]
        other = (known != 0) & (known != places)
        if other.any():
            path = paths[int(other.argmax())]
            raise CacheError(
                f'{self.folder} knows images by the last {self.manifest.name_parts} parts of their paths, and'
                f' {path} has the same ones as another image: it was written for one of the two folders. '
                'Write one cache for both by lfi cache'
            )
        self._places[rows] = places

    def shard(self, shard: int) -> np.ndarray:
        """The records of a shard, memory-mapped.

        Raises:
            CacheError: if its file does not match its checksum.
        """
        if shard not in self._shards:
            path = shard_file(self.folder, shard)
            expected = read_checksum(self.folder, shard)
            if not is_nonempty_file(path) or checksum_of(path) != expected:
                raise CacheError(
                    f'{path} is corrupted or was changed: it does not match its checksum. Remove '
                    f'{checksum_file(self.folder, shard).name} and run lfi cache again: it '
                    'writes this shard anew'
                )
            try:
                records = read_npy(path, self.manifest.dtype, mmap_mode='r')
            except UNREADABLE as error:
                raise CacheError(
                    f'{path} does not hold the records that the manifest names: {error}. {ANEW}'
                ) from error
            if records.shape != (len(self.manifest.rows(shard)),):
                raise CacheError(
                    f'{path} does not hold the records that the manifest names: it has the shape '
                    f'{records.shape}, not ({len(self.manifest.rows(shard))},). {ANEW}'
                )
            _refuse_unsound_values(path, records)
            if self.manifest.keeps_chosen:
                _refuse_unknown_concepts(path, records['concepts'], len(self.texts))
            self._shards[shard] = records
        return self._shards[shard]

    @cached_property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in self.files if path.is_file())


def _refuse_unsound_values(path: Path, records: np.ndarray) -> None:
    """Raise a CacheError if a record of a shard is of no maps: values that no teacher and no `pack` gives."""
    low, step, presence = records['low'], records['step'], records['presence']
    sound = (np.isfinite(low) & np.isfinite(step) & (step >= 0)).all((1, 2))
    sound &= ((presence >= 0) & (presence <= 1)).all(1)
    unsound = ~(sound | is_missing(records))
    if unsound.any():
        raise CacheError(
            f'{path} is corrupted: its record {int(unsound.argmax())} has logits that are no finite numbers, '
            f'or a presence out of [0, 1]. {ANEW}'
        )


def _refuse_unknown_concepts(path: Path, concepts: np.ndarray, count: int) -> None:
    """Raise a CacheError if a shard has maps of concepts (n, M) that are none of `count`, nor `OTHER`."""
    unknown = concepts[(concepts < OTHER) | (concepts >= count)]
    if len(unknown):
        raise CacheError(
            f'{path} has maps of the concept number {unknown[0]}, and the cache has {count} concepts. {ANEW}'
        )


def _digest(place: str) -> int:
    """Alike in every process, which Python's own hash is not."""
    name = place.encode(errors='surrogateescape')
    return int.from_bytes(blake2b(name, digest_size=8).digest(), 'little', signed=True)
