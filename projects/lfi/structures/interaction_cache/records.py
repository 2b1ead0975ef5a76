"""Records of a cache: packed maps of one view of an image, bound to image, view and cache by a checksum."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

CHECKSUM = 'checksum'


def record_dtype(packed: np.dtype, has_views: bool) -> np.dtype:
    """Dtype of a record: packed maps, a checksum of the image's file, the view, and a checksum.

    Args:
        packed: `packed_dtype` of the maps.
        has_views: whether the cache holds several views of each image. Then `view` is the affine map (2, 3)
            from the view's coordinates to the image's, as in `InteractionMaps.warp`, and `colours` are mean
            and standard deviation of the three channels in the view.
    """
    view = [('view', 'f4', (2, 3)), ('colours', 'u1', (6,))] if has_views else []
    return np.dtype([*packed.descr, ('file_digest', 'u4'), *view, (CHECKSUM, 'u8')])


def make_records(
    packed: np.ndarray,
    file_digests: np.ndarray,
    views: np.ndarray | None = None,
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """Build the records (n, K) of n images, without checksums.

    Args:
        packed: (n, K) packed maps, K views of each image.
        file_digests: (n, K) checksums of the images' files, from `file_digest`; 0 for none.
        views: (n, K, 2, 3), recorded views. Defaults to None: the cache holds one view of each image.
        colours: (n, K, 6) uint8, colours of the views. Defaults to None: zeros.
    """
    records = np.zeros(packed.shape, record_dtype(packed.dtype, views is not None))
    for name in packed.dtype.names or ():
        records[name] = packed[name]
    records['file_digest'] = file_digests
    if views is not None:
        records['view'] = views
    if colours is not None:
        records['colours'] = colours
    return records


def add_checksums(records: np.ndarray, keys: np.ndarray, digest: str) -> None:
    """Set the checksum of each record (n, K) in place.

    Args:
        records: (n, K) of `record_dtype`, K views of n images.
        keys: (n,) uint64, from `image_keys`.
        digest: digest of the cache's manifest.
    """
    checksums = records[CHECKSUM]
    for image, key in enumerate(keys.tolist()):
        for view in range(records.shape[1]):
            checksums[image, view] = _checksum(records[image, view : view + 1], key, view, digest)


def has_checksum(record: np.ndarray, key: int, view: int, digest: str) -> bool:
    """Whether a record (1,) belongs to an image, a view and a cache, and has not changed."""
    return int(record[CHECKSUM][0]) == _checksum(record, key, view, digest)


def _checksum(record: np.ndarray, key: int, view: int, digest: str) -> int:
    content = record.tobytes()[: record.dtype.fields[CHECKSUM][1]]
    place = key.to_bytes(8, 'little') + view.to_bytes(4, 'little')
    return int.from_bytes(blake2b(place + content, digest_size=8, key=digest.encode()).digest(), 'little')
