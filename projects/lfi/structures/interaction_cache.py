"""Interaction maps on disk: written once, in shards, and read by memory mapping.

A cache is a folder:

- `manifest.json`: what made the maps, and what they are;
- `keys.npy`: (N,) uint64, the digests of the images' names, in the order of the records;
- `texts.npy`: (C, E) float32, the concepts' unit embeddings;
- `shard-*.npy`: records of `lfi.structures.pack`, and beside each its checksum, written last. Presence in
  them is the teacher's own; that of labels is the view's, and joins it in training.

Nothing in it is pickled.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from hashlib import blake2b
from math import ceil
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from lfi.errors import UsageError
from lfi.fileio import AtomicLocalBackend
from lfi.repositories import cache_folder

from .interaction_maps import InteractionMaps
from .packed_maps import lacks_maps, packed_dtype
from .pieces import Pieces

VERSION = 3
MAX_SHARDS = 256
MIN_SHARD_SIZE = 256
TEXT_TOLERANCE = 1e-4
"""Largest distance of two unit embeddings of one text by the same weights on different hardware."""


class CacheError(UsageError):
    """A cache that is missing, unfinished, corrupted, or of other maps than those asked for."""


@dataclass(frozen=True)
class CacheManifest:
    """What made the maps of a cache, and what they are.

    Args:
        teacher: the identity of the teacher, as `teacher_identity` gives it.
        data: a digest of the images' keys.
        texts: a digest of the concepts' embeddings.
        num_images: N.
        shard_size: records in each shard but the last.
        name_parts: how many of a path's last parts name an image: as few as tell all images apart.
        layers: the layers of the maps.
        directions: the readings that are meaningful.
        record: the record's fields, as `numpy.dtype.descr` gives them.
        labels: whose labels chose the concepts whose maps are kept: 'known', those of all images; 'hidden',
            none; or one of these for each of several data sets. None where all maps are kept. Defaults to
            None.
        version: of the format.
    """

    teacher: dict
    data: str
    texts: str
    num_images: int
    shard_size: int
    name_parts: int
    layers: tuple[int, ...]
    directions: tuple[str, ...]
    record: tuple
    labels: str | None = None
    version: int = VERSION

    @classmethod
    def of(
        cls,
        teacher: dict,
        keys: np.ndarray,
        name_parts: int,
        texts: np.ndarray,
        maps: InteractionMaps,
        labels: str | None = None,
    ) -> CacheManifest:
        """Of a cache to be written.

        Args:
            teacher: the teacher's identity.
            keys: (N,) uint64 of `keys_of`.
            name_parts: as `keys_of` was given them.
            texts: (C, E) float32.
            maps: of any image.
            labels: as the manifest has them; not noted where all maps are kept. Defaults to None.
        """
        return cls(
            teacher=teacher,
            data=checksum(keys.tobytes()),
            texts=checksum(texts.tobytes()),
            num_images=len(keys),
            shard_size=shard_size(len(keys)),
            name_parts=name_parts,
            layers=maps.layers,
            directions=maps.directions,
            record=tuple(packed_dtype(maps).descr),
            labels=None if maps.concepts is None else labels,
        )

    @property
    def concepts(self) -> list[str]:
        """The teacher's concepts and background, in the order of its texts."""
        return [*self.teacher.get('concepts', ()), *self.teacher.get('background', ())]

    @property
    def dtype(self) -> np.dtype:
        """The record's dtype."""
        return _record_dtype(self.record)

    @property
    def keeps_chosen(self) -> bool:
        """Whether each image has the maps of concepts that were chosen for it, and no others."""
        return 'concepts' in (self.dtype.names or ())

    @property
    def tells_labels(self) -> bool:
        """Whether the labels of all images chose concepts, so that the choice tells the labels."""
        return self.keeps_chosen and self.labels == 'known'

    @property
    def num_shards(self) -> int:
        """How many shards hold the N records."""
        return ceil(self.num_images / self.shard_size)

    def rows(self, shard: int) -> range:
        """The records of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.num_images))

    def difference(self, other: CacheManifest) -> str | None:
        """The first field that differs, with both values; None if all are the same.

        `texts` is left out: another CPU rounds embeddings otherwise (`texts_difference`).
        """
        mine, its = ({'labels': None, **manifest.content()} for manifest in (self, other))
        names = (field.name for field in fields(self) if field.name != 'texts')
        return next((found for name in names if (found := difference(name, mine[name], its[name]))), None)

    def content(self) -> dict[str, Any]:
        """As JSON has it; without `labels` where there is nothing to note, as lfi 0.1 wrote it."""
        content = _plain(asdict(self))
        if self.labels is None:
            del content['labels']
        return content

    @classmethod
    def read(cls, folder: Path) -> CacheManifest:
        """Read the manifest in a folder.

        Raises:
            CacheError: if there is none, or it cannot be understood; the message names the field.
        """
        path = folder / 'manifest.json'
        if not path.is_file():
            raise CacheError(f'{folder} is no cache of interaction maps: it has no manifest.json')
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            version = content['version']
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {error!r}') from error
        if version != VERSION:
            raise CacheError(
                f'{path} has the format {version}, this version of lfi reads {VERSION}: write it anew by '
                'tools/cache_teacher.py'
            )
        noted = 'labels' in content
        content.setdefault('labels', None)
        found = _manifest_fault(content)
        if found is not None:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {found}')
        for name in ('layers', 'directions', 'record'):
            content[name] = tuple(content[name])
        manifest = cls(**content)
        # Versions that noted no labels hid none.
        return manifest if noted or not manifest.keeps_chosen else replace(manifest, labels='known')


def _manifest_fault(content: dict[str, Any]) -> str | None:
    """The first field of a manifest, as JSON gives it, that is missing, unknown or of a wrong value."""
    names = {field.name for field in fields(CacheManifest)}
    if content.keys() != names:
        return f'its fields must be {sorted(names)}, not {sorted(content)}'
    teacher = content['teacher']
    if not isinstance(teacher, dict):
        return f'teacher={teacher!r} must be an object'
    for name in ('concepts', 'background'):
        if not _is_list_of(str, teacher.get(name, [])):
            return f'teacher.{name}={teacher[name]!r} must be a list of strings'
    for name in ('data', 'texts'):
        if not isinstance(content[name], str):
            return f'{name}={content[name]!r} must be a string'
    if not isinstance(content['labels'], str | None):
        return f'labels={content["labels"]!r} must be a string'
    for name in ('num_images', 'shard_size', 'name_parts'):
        if not _is_list_of(int, [content[name]]) or content[name] < 1:
            return f'{name}={content[name]!r} must be an integer of at least 1'
    for name, kind, what in (('layers', int, 'integers'), ('directions', str, 'strings')):
        if not _is_list_of(kind, content[name]):
            return f'{name}={content[name]!r} must be a list of {what}'
    try:
        plain = not _record_dtype(content['record']).hasobject
    except (ValueError, TypeError, SyntaxError, OverflowError):
        plain = False
    return None if plain else f"record={content['record']!r} must be fields of numbers, as numpy's descr"


def _is_list_of(kind: type, value: object) -> bool:
    # JSON's true is no number.
    return isinstance(value, list) and all(type(entry) is kind for entry in value)


def _record_dtype(record: Iterable) -> np.dtype:
    return np.dtype([(name, kind, tuple(shape)) for name, kind, shape in record])


def difference(name: str, cached: object, wanted: object) -> str | None:
    """Where two plain values first differ, with both values; None if they do not."""
    if isinstance(cached, dict) and isinstance(wanted, dict):
        keys = sorted({*cached, *wanted})
        parts = (difference(f'{name}.{key}', cached.get(key), wanted.get(key)) for key in keys)
    elif isinstance(cached, list) and isinstance(wanted, list) and len(cached) == len(wanted):
        parts = (difference(f'{name}[{i}]', a, b) for i, (a, b) in enumerate(zip(cached, wanted)))
    elif isinstance(cached, list) and isinstance(wanted, list):
        return f'{name} has {len(cached)} entries in the cache, {len(wanted)} here'
    else:
        return None if cached == wanted else f'{name} is {cached!r} in the cache, {wanted!r} here'
    return next(filter(None, parts), None)


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


def name_parts(paths: Sequence[str]) -> int:
    """How many of a path's last parts tell all images apart; at least two, folder and file.

    Raises:
        CacheError: if a path comes twice.
    """
    all_parts = [PurePath(path).parts for path in paths]
    for count in range(2, max([2, *map(len, all_parts)]) + 1):
        if len({parts[-count:] for parts in all_parts}) == len(paths):
            return count
    raise CacheError('an image comes twice: a cache keeps each image once')


def keys_of(paths: Sequence[str], parts: int) -> np.ndarray:
    """The images' keys (n,) uint64: wherever the data lie, the last parts of their paths name them."""
    # A file's name may hold bytes that are no text.
    names = ('/'.join(PurePath(path).parts[-parts:]).encode(errors='surrogateescape') for path in paths)
    return np.array(
        [int.from_bytes(blake2b(name, digest_size=8).digest(), 'little') for name in names], np.uint64
    )


def _place(path: str) -> str:
    """Where an image lies, however its path is spelt; addresses stay as they are."""
    return path if '://' in path else os.path.realpath(path)


def shard_size(num_images: int) -> int:
    """Few enough shards to hold all open at once, small enough that a kill loses little."""
    return max(MIN_SHARD_SIZE, ceil(num_images / MAX_SHARDS))


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
                _load_array(folder, 'texts.npy', existing.texts), texts, existing.concepts
            )
            if found:
                raise CacheError(f'{folder} holds other maps: {found}. Choose another folder, or remove it')
            return
        for name, array in (('keys.npy', keys), ('texts.npy', texts)):
            self._files.put(_npy(array), folder / name)
        text = json.dumps(manifest.content(), indent=1, ensure_ascii=False)
        self._files.put(text.encode(), folder / 'manifest.json')

    def is_done(self, shard: int) -> bool:
        """Whether a shard is written."""
        return _checksum_file(self.folder, shard).is_file()

    def unread(self, shard: int) -> list[int]:
        """Which images, of all, a written shard has no maps of, because they could not be read."""
        path = _unread_file(self.folder, shard)
        return [self.manifest.rows(shard)[i] for i in json.loads(path.read_text())] if path.is_file() else []

    def write(self, shard: int, records: np.ndarray) -> None:
        """Write a shard's records."""
        content, unread = _npy(records), np.flatnonzero(lacks_maps(records)).tolist()
        # A shard that is written anew, and not to its end, counts as missing.
        _checksum_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(content, _shard_file(self.folder, shard))
        if unread:
            self._files.put(json.dumps(unread).encode(), _unread_file(self.folder, shard))
        else:
            _unread_file(self.folder, shard).unlink(missing_ok=True)
        self._files.put(checksum(content).encode(), _checksum_file(self.folder, shard))


class StoredMaps(NamedTuple):
    """What a cache holds of what one picture shows, on its way from a worker to the model.

    Args:
        record: (n,) of the cache's dtype, as `unpack` takes it; n = 1 for an image.
        cache: digest of the cache's manifest.
        pieces: where the picture shows the n images. Defaults to None: it is an image, seen in its view.
    """

    record: np.ndarray
    cache: str
    pieces: Pieces | None = None


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
        missing = [i for i in range(self.manifest.num_shards) if not _checksum_file(self.folder, i).is_file()]
        if missing:
            raise CacheError(
                f'{folder} is unfinished: {len(missing)} of {self.manifest.num_shards} shards are missing, '
                f'the first is {missing[0]}. tools/cache_teacher.py with the same arguments goes on with it'
            )
        self.texts = _load_array(self.folder, 'texts.npy', self.manifest.texts)
        self._keys = _load_array(self.folder, 'keys.npy', self.manifest.data)
        if self._keys.shape != (self.manifest.num_images,):
            raise CacheError(
                f'{folder} is corrupted: keys.npy has the shape {self._keys.shape}, and manifest.json '
                f'num_images={self.manifest.num_images}'
            )
        self._order = np.argsort(self._keys)
        self._sorted = self._keys[self._order]
        self._shards: dict[int, np.ndarray] = {}
        # Of each row the hash of the path that it was first read by.
        self._places = np.zeros(len(self._keys), np.int64)

    @cached_property
    def digest(self) -> str:
        """Of the manifest: caches of other images, or of another teacher, have another."""
        return checksum(json.dumps(self.manifest.content(), sort_keys=True).encode())

    def stored(self, path: str) -> StoredMaps:
        """What is held of one image. Errors as `read`."""
        return StoredMaps(self.read([path]), self.digest)

    def stored_pieces(self, paths: Sequence[str], pieces: Pieces) -> StoredMaps:
        """What is held of the images of which a picture shows pieces. Errors as `read`."""
        return StoredMaps(self.read(paths), self.digest, pieces)

    def read(self, paths: Sequence[str]) -> np.ndarray:
        """The records (n,) of images, by their paths.

        Raises:
            CacheError: if an image is not in the cache, or could not be read when that was written; if it has
                the name of another one that was read before; or if a shard is corrupted.
        """
        keys = keys_of(paths, self.manifest.name_parts)
        found = np.searchsorted(self._sorted, keys).clip(max=len(self._sorted) - 1)
        unknown = self._sorted[found] != keys
        if unknown.any():
            raise CacheError(
                f'{self.folder} has no maps of {paths[int(unknown.argmax())]}: it was written for other data '
                f'({self.manifest.num_images} images). Write one for these by tools/cache_teacher.py'
            )
        self._refuse_namesakes(paths, self._order[found])
        records = np.empty(len(paths), self.manifest.dtype)
        for i, row in enumerate(self._order[found]):
            shard, index = divmod(int(row), self.manifest.shard_size)
            records[i] = self.shard(shard)[index]
        unread = lacks_maps(records)
        if unread.any():
            first = int(unread.argmax())
            shard = int(self._order[found[first]]) // self.manifest.shard_size
            raise CacheError(
                f'{self.folder} has no maps of {paths[first]}: it could not be read when the cache was '
                f'written. Remove {_checksum_file(self.folder, shard).name} and run tools/cache_teacher.py '
                'again: it writes this shard anew'
            )
        return records

    def _refuse_namesakes(self, paths: Sequence[str], rows: np.ndarray) -> None:
        """Raise a CacheError if images of two folders take one row for theirs."""
        places = np.array([hash(_place(path)) for path in paths], np.int64)
        # No hash is 0 in practice, and none is looked at before the first image of a row.
        known = self._places[rows]
        other = (known != 0) & (known != places)
        if other.any():
            path = paths[int(other.argmax())]
            raise CacheError(
                f'{self.folder} knows images by the last {self.manifest.name_parts} parts of their paths, and'
                f' {path} has the same ones as another image: it was written for one of the two folders. '
                'Write one cache for both by tools/cache_teacher.py'
            )
        self._places[rows] = places

    def shard(self, shard: int) -> np.ndarray:
        """The records of a shard, memory-mapped.

        Raises:
            CacheError: if its file does not match its checksum.
        """
        if shard not in self._shards:
            path = _shard_file(self.folder, shard)
            expected = _checksum_file(self.folder, shard).read_text()
            if not path.is_file() or checksum(path.read_bytes()) != expected:
                raise CacheError(
                    f'{path} is corrupted or was changed: it does not match its checksum. Remove '
                    f'{_checksum_file(self.folder, shard).name} and run tools/cache_teacher.py again: it '
                    'writes this shard anew'
                )
            records = np.load(path, mmap_mode='r', allow_pickle=False)
            if records.dtype != self.manifest.dtype or len(records) != len(self.manifest.rows(shard)):
                raise CacheError(f'{path} does not hold the records that the manifest names')
            self._shards[shard] = records
        return self._shards[shard]

    @cached_property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


def _load_array(folder: Path, name: str, expected: str) -> np.ndarray:
    path = folder / name
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CacheError(f'{path} is missing or corrupted: {error}') from error
    if checksum(array.tobytes()) != expected:
        raise CacheError(f'{path} was changed: it does not match the manifest. Write the cache anew')
    return array


def checksum(content: bytes) -> str:
    """Of a file's content."""
    return blake2b(content, digest_size=16).hexdigest()


def _shard_file(folder: Path, shard: int) -> Path:
    return folder / f'shard-{shard:05}.npy'


def _checksum_file(folder: Path, shard: int) -> Path:
    return folder / f'shard-{shard:05}.blake2b'


def _unread_file(folder: Path, shard: int) -> Path:
    return folder / f'shard-{shard:05}.unread.json'


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _plain(content: dict) -> dict:
    """As it is after a round through JSON."""
    return json.loads(json.dumps(content))
