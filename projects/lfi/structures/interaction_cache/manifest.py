"""Manifest of a cache: the teacher, the data and the format of its maps."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lfi.utils.fileio import read_prefix
from lfi.utils.options import is_plain_text
from lfi.utils.stores import is_address

from ..interaction_maps import DIRECTIONS, InteractionMaps
from ..packed_maps import is_packed, packed_dtype
from .files import REDO, CacheError, checksum, find_file
from .records import record_dtype

VERSION = 6
NUM_COMPLETE = 2
"""Number of views that show the complete image: as it is, and mirrored. Others are drawn."""
MIN_SHARD_SIZE = 256
MAX_SHARDS = 4096
MAX_SHARD_BYTES = 2**26
"""Largest size of a shard. It comes before `MAX_SHARDS`."""
MAX_BYTES = 2**24
"""Largest size of a manifest in bytes: enough for tens of thousands of concepts."""
MAX_DEPTH = 64
"""Deepest nesting of a manifest."""


@dataclass(frozen=True)
class CacheManifest:
    """Manifest of a cache: the teacher, the data and the format of its maps.

    Args:
        teacher: identity of the teacher, from `teacher_identity`.
        texts: checksum of the concepts' embeddings.
        num_images: N, number of images; 0 for a cache of tar shards, each of which has a sidecar.
        shard_size: number of images in each shard but the last; 0 for a cache of tar shards.
        name_parts: number of last path parts that identify an image.
        layers: layers of the maps.
        directions: directions in which the maps can be read.
        record: fields of an image's packed maps, in the form of `numpy.dtype.descr`.
        views: K, number of recorded views of each image: the complete image, the mirrored one, and draws of
            the training's transforms.
        recipe: configs of the steps that drew the views. Defaults to None: none are drawn.
        presence_kind: `VLMAttentionTeacher.presence_kind` of the teacher. Defaults to None: unknown.
        loading: options by which the images were decoded. Defaults to None: those of `LoadImageFromFile`.
        version: version of the format.
    """

    teacher: dict
    texts: str
    num_images: int
    shard_size: int
    name_parts: int
    layers: tuple[int, ...]
    directions: tuple[str, ...]
    record: tuple
    views: int = 1
    recipe: list | None = None
    presence_kind: str | None = None
    loading: list | None = None
    version: int = VERSION

    @classmethod
    def of(
        cls,
        teacher: dict,
        num_images: int,
        name_parts: int,
        texts: np.ndarray,
        maps: InteractionMaps,
        presence_kind: str | None = None,
        views: int = 1,
        recipe: list | None = None,
        loading: list | None = None,
    ) -> CacheManifest:
        """Build the manifest of a new cache.

        Args:
            teacher: identity of the teacher, from `teacher_identity`.
            num_images: N, number of images; 0 for tar shards.
            name_parts: number of last path parts in the keys.
            texts: (C, E) float32, embeddings of the concepts.
            maps: maps of any image, for their format.
            presence_kind: `VLMAttentionTeacher.presence_kind`. Defaults to None: unknown.
            views: number of recorded views of each image. Defaults to 1: the complete image.
            recipe: configs of the steps that draw views from the third on. Defaults to None.
            loading: options by which the images are decoded. Defaults to None: the usual ones.

        Raises:
            CacheError: if the name of a concept is no plain text.
        """
        fault = _concepts_fault(teacher)
        if fault is not None:
            raise CacheError(f'{fault}: rename it')
        packed = packed_dtype(maps)
        num_bytes = views * record_dtype(packed, views > 1).itemsize
        return cls(
            teacher=teacher,
            texts=checksum(texts.tobytes()),
            num_images=num_images,
            shard_size=shard_size(num_images, num_bytes) if num_images else 0,
            name_parts=name_parts,
            layers=maps.layers,
            directions=maps.directions,
            record=tuple(packed.descr),
            views=views,
            recipe=recipe,
            presence_kind=presence_kind,
            loading=loading,
        )

    @property
    def concepts(self) -> list[str]:
        """Concepts and background of the teacher, in the order of its texts."""
        return [*self.teacher.get('concepts', ()), *self.teacher.get('background', ())]

    @cached_property
    def digest(self) -> str:
        """Digest of the manifest, which differs between caches of other teachers, data sets or formats."""
        return checksum(json.dumps(self.content(), sort_keys=True).encode())

    @property
    def has_sidecars(self) -> bool:
        """Whether the images lie in tar shards, each of which has a sidecar in the cache."""
        return self.num_images == 0

    @property
    def has_drawn_views(self) -> bool:
        """Whether views are recorded that the training's transforms drew."""
        return self.views > NUM_COMPLETE

    @cached_property
    def packed_dtype(self) -> np.dtype:
        """Dtype of an image's packed maps."""
        return _packed_dtype(self.record)

    @cached_property
    def record_dtype(self) -> np.dtype:
        """Dtype of a record: the packed maps of one view, and what binds them to it."""
        return record_dtype(self.packed_dtype, self.views > 1)

    @property
    def has_chosen_concepts(self) -> bool:
        """Whether the cache has maps of some chosen concepts of each image, and not of all concepts."""
        return 'concepts' in (self.packed_dtype.names or ())

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return 0 if self.has_sidecars else -(-self.num_images // self.shard_size)

    def rows(self, shard: int) -> range:
        """Return the rows of a shard's images."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.num_images))

    def difference(self, other: CacheManifest) -> str | None:
        """Describe the first field that differs, with both values; None if all are equal.

        `texts` is skipped, since CPUs round embeddings differently (see `texts_difference`). `presence_kind`
        is skipped, since it follows from the teacher's identity.
        """
        content, other_content = self.content(), other.content()
        names = (field.name for field in fields(self) if field.name not in ('texts', 'presence_kind'))
        differences = (difference(name, content[name], other_content[name]) for name in names)
        return next(filter(None, differences), None)

    def content(self) -> dict[str, Any]:
        """Return the manifest as plain JSON data."""
        return _json_data(asdict(self))

    @classmethod
    def read(cls, folder: str | Path) -> CacheManifest:
        """Read the manifest in a folder, or in a store.

        Raises:
            CacheError: if there is no manifest, or the manifest is corrupted or of another version.
            StoreError: if it cannot be read from the store.
        """
        path = find_file(folder, 'manifest.json')
        if path is None:
            is_folder = not is_address(folder) and Path(folder).exists()
            reason = 'it has no manifest.json' if is_folder else 'there is no such folder'
            raise CacheError(f'{folder} is not a cache of interaction maps: {reason}')
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CacheError(
                f'{path} has {size:,} bytes, and no manifest has more than {MAX_BYTES:,}. {REDO}'
            )
        try:
            content = json.loads(read_prefix(path, size).decode())
            # A lone surrogate, which JSON can escape, cannot be written into a model card.
            json.dumps(content, ensure_ascii=False).encode()
            version = content['version']
        except UnicodeError as error:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {error}. {REDO}') from error
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {error!r}. {REDO}') from error
        if version != VERSION:
            raise CacheError(
                f'{path} has the format {reprlib.repr(version)}, but this lfi reads {VERSION}. {REDO}'
            )
        fault = _manifest_fault(content)
        if fault is not None:
            raise CacheError(f'{path} is corrupted, or no manifest of a cache: {fault}. {REDO}')
        for name in ('layers', 'directions', 'record'):
            content[name] = tuple(content[name])
        return cls(**content)


def shard_size(num_images: int, num_bytes: int) -> int:
    """Return the number of images in a shard, a power of 2: few files, and little work lost by a stop.

    Args:
        num_images: number of images in the cache.
        num_bytes: size of an image's records in bytes.
    """
    size = MIN_SHARD_SIZE
    while size * MAX_SHARDS < num_images and 2 * size * num_bytes <= MAX_SHARD_BYTES:
        size *= 2
    return size


def _manifest_fault(content: dict[str, Any]) -> str | None:
    """Describe the first field of a manifest that is missing, unknown or wrong; None if all are valid."""
    names = {field.name for field in fields(CacheManifest)}
    if content.keys() != names:
        return f'its fields must be {sorted(names)}, not {sorted(content)}'
    if _is_deeper(content, MAX_DEPTH):
        return f'it is nested more than {MAX_DEPTH} deep'
    teacher = content['teacher']
    if not isinstance(teacher, dict):
        return f'teacher={teacher!r} must be an object'
    fault = _concepts_fault(teacher)
    if fault is not None:
        return fault
    if not isinstance(content['texts'], str):
        return f'texts={content["texts"]!r} must be a string'
    kind = content['presence_kind']
    if kind is not None and not (isinstance(kind, str) and is_plain_text(kind)):
        return (
            f'presence_kind={reprlib.repr(kind)} must be null or a text of up to 1,000 printable characters'
        )
    least = 0 if content['num_images'] == 0 else 1
    for name, minimum in (('num_images', least), ('shard_size', least), ('name_parts', 1), ('views', 1)):
        if not _is_list_of(int, [content[name]]) or content[name] < minimum:
            return f'{name}={content[name]!r} must be an integer of at least {minimum}'
    for name in ('recipe', 'loading'):
        if not (content[name] is None or isinstance(content[name], list)):
            return f'{name}={content[name]!r} must be null or a list'
    for name, kind, entries in (('layers', int, 'integers'), ('directions', str, 'strings')):
        if not _is_list_of(kind, content[name]):
            return f'{name}={content[name]!r} must be a list of {entries}'
    directions = content['directions']
    if not directions or not {*directions} <= {*DIRECTIONS} or len({*directions}) < len(directions):
        return f'directions={directions!r} must be a non-empty part of {list(DIRECTIONS)}, each once'
    return _record_fault(content['record'], content['layers'])


def _concepts_fault(teacher: dict) -> str | None:
    """Describe the fault of a teacher's concepts or background; None if both are lists of plain texts."""
    for name in ('concepts', 'background'):
        texts = teacher.get(name, [])
        if not _is_list_of(str, texts):
            return f'teacher.{name}={texts!r} must be a list of strings'
        invalid = next((text for text in texts if not is_plain_text(text)), None)
        if invalid is not None:
            return (
                f'teacher.{name} has {reprlib.repr(invalid)}, which has more than 1,000 characters, or a '
                'control character'
            )
    return None


def _record_fault(record: Any, layers: list[int]) -> str | None:
    """Describe the fault of a manifest's `record`; None if it fits packed maps of these layers."""
    try:
        dtype = _packed_dtype(record)
        packed = is_packed(dtype)
    except (ValueError, TypeError, SyntaxError, OverflowError):
        packed = False
    if not packed:
        return f"record={reprlib.repr(record)} must be fields of packed maps, as in numpy's descr"
    if len(layers) != dtype['logits'].shape[0]:
        return f'layers={layers!r} must be {dtype["logits"].shape[0]} layers, as in record'
    return None


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper than a number of levels."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)


def _is_list_of(kind: type, value: object) -> bool:
    # `isinstance` would accept True as an int.
    return isinstance(value, list) and all(type(entry) is kind for entry in value)


def _packed_dtype(record: Iterable) -> np.dtype:
    return np.dtype([(name, kind, tuple(shape)) for name, kind, shape in record])


def difference(name: str, cached: object, expected: object) -> str | None:
    """Describe the first difference of two plain values, with both values; None if they are equal."""
    if isinstance(cached, dict) and isinstance(expected, dict):
        keys = sorted({*cached, *expected})
        parts = (difference(f'{name}.{key}', cached.get(key), expected.get(key)) for key in keys)
    elif isinstance(cached, list) and isinstance(expected, list) and len(cached) == len(expected):
        parts = (difference(f'{name}[{i}]', a, b) for i, (a, b) in enumerate(zip(cached, expected)))
    elif isinstance(cached, list) and isinstance(expected, list):
        return f'{name} has {len(cached)} entries in the cache, {len(expected)} here'
    else:
        return None if cached == expected else f'{name} is {cached!r} in the cache, {expected!r} here'
    return next(filter(None, parts), None)


def _json_data(content: dict) -> dict:
    """Convert a dict to the types that JSON has."""
    return json.loads(json.dumps(content))
