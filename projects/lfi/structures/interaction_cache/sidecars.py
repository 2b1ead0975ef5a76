"""Sidecars: shards of a cache that belong to tar files, each in the order of the images in its tar."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePosixPath

from ..tiles import Tiles
from .files import CacheError, find_file, sidecar_name
from .manifest import CacheManifest
from .reader import CacheFolder, StoredMaps
from .shards import Shard

NAME_PARTS = 2
"""Last path parts of an image from which the seeds of its drawn views follow."""


def member_key(path: str, tar: str, content: bytes) -> int:
    """Return the key of an image in a tar file, from the names of tar and member, and the content.

    Args:
        path: address of the image, which ends with the path of the tar and the name of the member.
        tar: path or address of the tar file.
        content: content of the image's file.
    """
    member = path.partition(f'{tar.replace("://", "/")}/')[2]
    name = f'{PurePosixPath(tar).name}/{member}'
    digest = blake2b(name.encode(errors='surrogateescape'), digest_size=8)
    digest.update(len(content).to_bytes(8, 'little') + content)
    return int.from_bytes(digest.digest(), 'little')


class Sidecar:
    """Sidecar of a tar file, opened for reading the images of the tar in their order.

    Args:
        cache: cache of the sidecar.
        tar: path or address of the tar file.

    Raises:
        CacheError: if the cache is of images in folders, or the sidecar is missing or corrupted.
    """

    def __init__(self, cache: CacheFolder, tar: str) -> None:
        if not cache.manifest.has_sidecars:
            raise CacheError(
                f'{cache.address} is a cache of images in folders, and has no sidecar of {tar}: run lfi '
                'cache with the config of this training'
            )
        self.cache, self.tar = cache, tar
        path = find_file(cache.address, sidecar_name(tar))
        if path is None:
            raise CacheError(
                f'{cache.place(sidecar_name(tar))} is missing: run lfi cache again, which writes it for {tar}'
            )
        self.shard = Shard(path, cache.manifest, cache.place(sidecar_name(tar)))
        self.keys = self.shard.keys()
        self.unreadable = set(self.shard.unreadable)

    def image(self, position: int, path: str, content: bytes) -> SidecarImage:
        """Return the records of an image of the tar.

        Args:
            position: position of the image among the images of the tar.
            path: address of the image.
            content: content of the image's file.

        Raises:
            CacheError: if the sidecar has another image at this position.
        """
        key = member_key(path, self.tar, content)
        if position >= len(self.keys) or self.keys[position] != key:
            raise self._changed_error(f'image {position} is {path}, and was another one')
        return SidecarImage(self, position, key, path)

    def check_complete(self, count: int) -> None:
        """Check that a tar has as many images as its sidecar.

        Raises:
            CacheError: if it has another number.
        """
        if count != len(self.keys):
            raise self._changed_error(f'it has {count} images, and had {len(self.keys)}')

    def _changed_error(self, change: str) -> CacheError:
        return CacheError(
            f'{self.tar} has changed since {self.shard.place} was written, or the sidecar is of another tar: '
            f'{change}. {self.shard.fix}'
        )


class SidecarImage:
    """Cached maps of one image in a tar file. It is read as an `InteractionCache` is.

    Args:
        sidecar: sidecar of the tar file.
        position: position of the image in the sidecar.
        key: key of the image.
        path: address of the image.
    """

    def __init__(self, sidecar: Sidecar, position: int, key: int, path: str) -> None:
        self.sidecar, self.position, self.key, self.path = sidecar, position, key, path

    @property
    def was_readable(self) -> bool:
        """Whether the image could be decoded when the cache was written."""
        return self.position not in self.sidecar.unreadable

    @property
    def manifest(self) -> CacheManifest:
        """Manifest of the cache."""
        return self.sidecar.cache.manifest

    def stored(
        self, paths: Sequence[str], tiles: Tiles | None = None, views: Sequence[int] | None = None
    ) -> StoredMaps:
        """Read the maps of the image; see `InteractionCache.stored`.

        Raises:
            CacheError: if the picture shows other images, too, or the record is corrupted.
        """
        if list(paths) != [self.path]:
            raise CacheError(
                f'a picture shows {len(paths)} images of {self.sidecar.tar}, and a stream reads the maps of '
                'one: remove the steps lfi.Recorded* that mix images, or train on a folder'
            )
        view = 0 if views is None else views[0]
        cache = self.sidecar.cache
        cache.check_views([view])
        record = cache.read_record(self.sidecar.shard, self.position, self.key, view, self.path)
        return StoredMaps(record, cache.digest, tiles)
