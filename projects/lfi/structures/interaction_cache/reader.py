"""Reader of a cache of interaction maps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfi.utils.fileio import file_digest
from lfi.utils.repositories import cache_folder
from lfi.utils.stores import is_address, join

from ..interaction_maps import OTHER
from ..packed_maps import is_missing
from ..tiles import Tiles
from .files import REDO, CacheError, load_texts, shard_file
from .index import BLOCKS, ENTRIES, CacheIndex, has_index
from .keys import image_keys
from .manifest import CacheManifest
from .shards import Shard

UNIT_TOLERANCE = 1e-3
"""Largest deviation of an embedding's length from 1; rounding to half precision causes less."""
MAX_OPEN_SHARDS = 256


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


class CacheFolder:
    """Teacher, texts and format of a cache.

    Args:
        folder: folder of the cache; its address in a store (`s3://bucket/cache`), if it is of tar shards; or
            a dataset of the Hugging Face Hub, `hf://datasets/user/name`, to download.

    Raises:
        CacheError: if the cache is missing, or its manifest or texts are corrupted.
        HubError: if the download fails.
        StoreError: if the store cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.address = cache_folder(folder)
        self.manifest = CacheManifest.read(self.address)
        self.text_embeddings = load_texts(self.address, self.manifest.texts)
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

    @property
    def digest(self) -> str:
        """Digest of the manifest, which differs between caches of other teachers or formats."""
        return self.manifest.digest

    def __repr__(self) -> str:
        return f'CacheFolder({self.address!r}, {len(self.text_embeddings):,} texts)'

    def place(self, name: str) -> str:
        """Return the path of a file, or its address."""
        return join(self.address, name)

    @property
    def files(self) -> list[Path]:
        """Paths of all files of a cache of tar shards in a local folder."""
        folder = Path(self.address)
        return [folder / 'manifest.json', folder / 'texts.npy', *sorted(folder.glob('*.safetensors'))]

    def verify_shard(self, shard: Shard) -> None:
        """Compare all records of a shard with their checksums.

        Raises:
            CacheError: if the shard is corrupted.
        """
        for position, key in enumerate(shard.keys().tolist()):
            for view in range(self.manifest.views):
                record = shard.record(position, key, view)
                if not (_has_valid_values(record) or is_missing(record)[0]):
                    raise _invalid_values_error(shard, position)

    def read_record(self, shard: Shard, position: int, key: int, view: int, path: str) -> np.ndarray:
        """Read the record (1,) of one view of an image, and check it.

        Args:
            shard: shard of the image.
            position: position of the image in the shard.
            key: key of the image.
            view: index of the view.
            path: path of the image, for messages.

        Raises:
            CacheError: if the record is corrupted, or the image was unreadable when the cache was written.
        """
        record = shard.record(position, key, view)
        if not _has_valid_values(record):
            if is_missing(record)[0]:
                raise CacheError(
                    f'{self.address} has no maps of {path}: it could not be read when the cache was written. '
                    'lfi cache with the same arguments adds what is readable now'
                )
            raise _invalid_values_error(shard, position)
        if self.manifest.has_chosen_concepts:
            _refuse_unknown_concepts(shard.place, record['concepts'][0], len(self.text_embeddings))
        return record

    def check_views(self, views: Sequence[int]) -> None:
        """Check that the cache has views, given their indices.

        Raises:
            CacheError: if it does not.
        """
        if not all(0 <= view < self.manifest.views for view in views):
            raise CacheError(
                f'{self.address} has {self.manifest.views} views of an image, and no view {max(views)}'
            )


class InteractionCache(CacheFolder):
    """A complete cache of interaction maps. Each record is compared with its checksum when it is read.

    Time and memory to open a cache do not grow with the number of images, but for one key of 256. At most 256
    shards are open.

    Args:
        folder: see `CacheFolder`.

    Raises:
        CacheError: if the cache is missing, unfinished or corrupted, or of tar shards.
        HubError: if the download fails.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self.folder = Path(self.address)
        if self.manifest.has_sidecars:
            raise CacheError(
                f'{folder} has sidecars of tar shards: it serves a training on lfi.WebDataset, and no images '
                'in folders'
            )
        if is_address(self.address):
            raise CacheError(
                f'{folder} is a cache of images in folders, which is read from a local folder: copy it'
            )
        if not has_index(self.folder):
            raise CacheError(
                f'{folder} is unfinished: it has no index, which is written after the last shard. lfi cache '
                'with the same arguments continues it'
            )
        self._index = CacheIndex(self.folder, self.manifest.num_images)
        self._shards: OrderedDict[int, Shard] = OrderedDict()

    def __getstate__(self) -> dict:
        """Return the state without open shards."""
        return {**vars(self), '_shards': OrderedDict()}

    def __repr__(self) -> str:
        images, texts = self.manifest.num_images, len(self.text_embeddings)
        size = f'{self.num_bytes / 1e6:,.1f} MB'
        return f'InteractionCache({str(self.folder)!r}, {images:,} images, {texts:,} texts, {size})'

    @property
    def files(self) -> list[Path]:
        """Paths of all files of the cache."""
        names = ('manifest.json', 'texts.npy', ENTRIES, BLOCKS)
        shards = range(self.manifest.num_shards)
        return [*(self.folder / name for name in names), *(shard_file(self.folder, i) for i in shards)]

    @cached_property
    def num_bytes(self) -> int:
        """Size of all files in bytes."""
        return sum(path.stat().st_size for path in self.files if path.is_file())

    def stored(
        self, paths: Sequence[str], tiles: Tiles | None = None, views: Sequence[int] | None = None
    ) -> StoredMaps:
        """Read the maps of the images in a picture. Raises the errors of `read`.

        Args:
            paths: paths of the n images.
            tiles: placement of the images. Defaults to None: the picture shows one image.
            views: index of the view of each image. Defaults to None: the complete images.
        """
        return StoredMaps(self.read(paths, views), self.digest, tiles)

    def read(self, paths: Sequence[str], views: Sequence[int] | None = None) -> np.ndarray:
        """Read the records (n,) of images by their paths.

        Args:
            paths: paths of the n images.
            views: index of the view of each image. Defaults to None: view 0, the complete images.

        Raises:
            CacheError: if an image is not in the cache, was unreadable when the cache was written, or is
                another one of its name; or if a record is corrupted.
        """
        keys = image_keys(paths, self.manifest.name_parts)
        rows = self._index.rows(keys)
        if (rows < 0).any():
            raise CacheError(
                f'{self.folder} has no maps of {paths[int((rows < 0).argmax())]}: it was written for other '
                f'data ({self.manifest.num_images} images). Run lfi cache for these data'
            )
        views = [0] * len(paths) if views is None else views
        self.check_views(views)
        # Read the records first: they confirm the manifest's dtype before memory for it is allocated.
        parts = [self._record(*place) for place in zip(paths, rows.tolist(), keys.tolist(), views)]
        records = np.concatenate(parts)
        for path, recorded in zip(paths, records['file_digest'].tolist()):
            if recorded and (digest := file_digest(path)) and digest != recorded:
                raise CacheError(
                    f'{self.folder} was written for another image than {path}: the file has changed, or two '
                    f'images share the last {self.manifest.name_parts} parts of their paths. Run lfi cache '
                    'with another folder for the data of this training'
                )
        return records

    def _record(self, path: str, row: int, key: int, view: int) -> np.ndarray:
        """Read the record (1,) of one view of an image."""
        shard, position = divmod(row, self.manifest.shard_size)
        return self.read_record(self.shard(shard), position, key, view, path)

    def shard(self, shard: int) -> Shard:
        """Open a shard, or return the open one. The least recently used one is closed.

        Raises:
            CacheError: if the shard's file is missing or corrupted, or has another number of images.
        """
        opened = self._shards.pop(shard, None)
        if opened is None:
            opened = Shard(shard_file(self.folder, shard), self.manifest)
            if opened.num_images != len(self.manifest.rows(shard)):
                raise CacheError(
                    f'{opened.place} has {opened.num_images} images, and the manifest names '
                    f'{len(self.manifest.rows(shard))}. {opened.fix}'
                )
            if len(self._shards) >= MAX_OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards[shard] = opened
        return opened


def _has_valid_values(record: np.ndarray) -> bool:
    """Whether a record (1,) has values that `pack` can produce."""
    fields = record.dtype.fields
    assert fields is not None
    # `low`, `step` and `presence` are adjacent: one test for all is faster.
    numbers = record.tobytes()[fields['low'][1] : fields['presence'][1] + fields['presence'][0].itemsize]
    values = np.frombuffer(numbers, np.float32)
    if not np.isfinite(values).all():
        return False
    return bool(values[record['low'].size :].min() >= 0 and record['presence'].max() <= 1)


def _invalid_values_error(shard: Shard, position: int) -> CacheError:
    return CacheError(
        f'{shard.place} is corrupted: the record of its image {position} has logits that are not finite, or '
        f'a presence outside [0, 1]. {REDO}'
    )


def _refuse_unknown_concepts(place: str, concepts: np.ndarray, count: int) -> None:
    """Raise a CacheError if a record has concepts (M,) that are neither below `count` nor `OTHER`."""
    unknown = concepts[(concepts < OTHER) | (concepts >= count)]
    if len(unknown):
        raise CacheError(
            f'{place} has maps of concept {unknown[0]}, but the cache has only {count} concepts. {REDO}'
        )
