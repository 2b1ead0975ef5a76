"""What made the maps of a cache, and what they are."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from lfi.utils.fileio import read_prefix
from lfi.utils.options import is_plain_text

from ..interaction_maps import DIRECTIONS, InteractionMaps
from ..packed_maps import is_packed, packed_dtype
from .files import ANEW, CacheError, checksum

VERSION = 3
MAX_SHARDS = 256
MIN_SHARD_SIZE = 256
MOST_BYTES = 2**24
"""Of a manifest: the names of tens of thousands of concepts."""
MOST_DEPTH = 64
"""The deepest nesting of a manifest: a teacher's arguments have little."""


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
            none; or one of these for each of several data sets. Defaults to None: all maps are kept, or it is
            not known.
        own_presence: what the teacher's presence is, as `VLMAttentionTeacher.own_presence` says. Defaults to
            None, unknown.
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
    own_presence: str | None = None
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
        own_presence: str | None = None,
    ) -> CacheManifest:
        """Of a cache to be written.

        Args:
            teacher: the teacher's identity.
            keys: (N,) uint64 of `image_keys`.
            name_parts: as `image_keys` was given them.
            texts: (C, E) float32.
            maps: of any image.
            labels: as the manifest has them; None is noted where all maps are kept. Defaults to None.
            own_presence: as the manifest has it. Defaults to None.

        Raises:
            CacheError: if a concept of the teacher is no plain text; who reads the cache would refuse it.
        """
        found = _concepts_fault(teacher)
        if found is not None:
            raise CacheError(f'{found}: rename it')
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
            own_presence=own_presence,
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
        """Whether the labels of all images chose concepts, or may have: the choice tells the labels."""
        return self.keeps_chosen and self.labels in ('known', None)

    @property
    def num_shards(self) -> int:
        """How many shards hold the N records."""
        return -(-self.num_images // self.shard_size)

    def rows(self, shard: int) -> range:
        """The records of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.num_images))

    def difference(self, other: CacheManifest) -> str | None:
        """The first field that differs, with both values; None if all are the same.

        `texts` is left out: another CPU rounds embeddings otherwise (`texts_difference`); and `own_presence`,
        which the teacher's identity decides.
        """
        mine, its = self.content(), other.content()
        names = (field.name for field in fields(self) if field.name not in ('texts', 'own_presence'))
        return next((found for name in names if (found := difference(name, mine[name], its[name]))), None)

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return _plain(asdict(self))

    @classmethod
    def read(cls, folder: Path) -> CacheManifest:
        """Read the manifest in a folder.

        Raises:
            CacheError: if there is none, or it cannot be understood; the message names the field.
        """
        path = folder / 'manifest.json'
        if not path.is_file():
            raise CacheError(f'{folder} is not a cache of interaction maps: it has no manifest.json')
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise CacheError(
                f'{path} has {size:,} bytes, and no manifest has more than {MOST_BYTES:,}. {ANEW}'
            )
        try:
            content = json.loads(read_prefix(path, size).decode())
            # Half a character, as JSON can name it, is in no name, and goes into no card.
            json.dumps(content, ensure_ascii=False).encode()
            version = content['version']
        except UnicodeError as error:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {error}. {ANEW}') from error
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {error!r}. {ANEW}') from error
        if version != VERSION:
            raise CacheError(
                f'{path} has the format {reprlib.repr(version)}, this version of lfi reads {VERSION}. {ANEW}'
            )
        found = _manifest_fault(content)
        if found is not None:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {found}. {ANEW}')
        for name in ('layers', 'directions', 'record'):
            content[name] = tuple(content[name])
        return cls(**content)


def shard_size(num_images: int) -> int:
    """Few enough shards to hold all open at once, small enough that a kill loses little."""
    return max(MIN_SHARD_SIZE, ceil(num_images / MAX_SHARDS))


def _manifest_fault(content: dict[str, Any]) -> str | None:
    """The first field of a manifest, as JSON gives it, that is missing, unknown or of a wrong value."""
    names = {field.name for field in fields(CacheManifest)}
    if content.keys() != names:
        return f'its fields must be {sorted(names)}, not {sorted(content)}'
    if _is_deeper(content, MOST_DEPTH):
        return f'it is nested more than {MOST_DEPTH} deep'
    teacher = content['teacher']
    if not isinstance(teacher, dict):
        return f'teacher={teacher!r} must be an object'
    found = _concepts_fault(teacher)
    if found is not None:
        return found
    for name in ('data', 'texts'):
        if not isinstance(content[name], str):
            return f'{name}={content[name]!r} must be a string'
    for name in ('labels', 'own_presence'):
        value = content[name]
        if value is not None and not (isinstance(value, str) and is_plain_text(value)):
            return f'{name}={reprlib.repr(value)} must be null or a text, of 1,000 characters and no controls'
    for name in ('num_images', 'shard_size', 'name_parts'):
        if not _is_list_of(int, [content[name]]) or content[name] < 1:
            return f'{name}={content[name]!r} must be an integer of at least 1'
    for name, kind, what in (('layers', int, 'integers'), ('directions', str, 'strings')):
        if not _is_list_of(kind, content[name]):
            return f'{name}={content[name]!r} must be a list of {what}'
    directions = content['directions']
    if not directions or not {*directions} <= {*DIRECTIONS} or len({*directions}) < len(directions):
        return f'directions={directions!r} must be a non-empty part of {list(DIRECTIONS)}, each once'
    return _record_fault(content['record'], content['layers'])


def _concepts_fault(teacher: dict) -> str | None:
    """What of a teacher's concepts, as JSON gives them, is no list of plain texts."""
    for name in ('concepts', 'background'):
        texts = teacher.get(name, [])
        if not _is_list_of(str, texts):
            return f'teacher.{name}={texts!r} must be a list of strings'
        odd = next((text for text in texts if not is_plain_text(text)), None)
        if odd is not None:
            return (
                f'teacher.{name} has {reprlib.repr(odd)}, which has more than 1,000 characters, or a control '
                'character'
            )
    return None


def _record_fault(record: Any, layers: list[int]) -> str | None:
    """What of a record, as JSON gives it, is not that of packed maps of these layers."""
    try:
        dtype = _record_dtype(record)
        packed = is_packed(dtype)
    except (ValueError, TypeError, SyntaxError, OverflowError):
        packed = False
    if not packed:
        return f"record={reprlib.repr(record)} must be fields of packed maps, as numpy's descr has them"
    if len(layers) != dtype['logits'].shape[0]:
        return f'layers={layers!r} must be {dtype["logits"].shape[0]}, as record has them'
    return None


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie more than so many levels deep in one another."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)


def _is_list_of(kind: type, value: object) -> bool:
    # JSON's true is not a number.
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


def _plain(content: dict) -> dict:
    """As it is after a round through JSON."""
    return json.loads(json.dumps(content))
