"""Writing of a cache of given maps, without a teacher and images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from lfi.structures import pack
from lfi.structures.interaction_cache import CacheManifest, CacheWriter, image_keys, make_records, shard_name
from lfi.utils.fileio import file_digest


def write_cache(folder, teacher, paths, texts, *views, shard_size=None, **fields):
    """Write a finished cache of the images at `paths`, with the maps of each view; return its folder."""
    manifest = CacheManifest.of(teacher, len(paths), 2, texts, views[0], views=len(views), **fields)
    if shard_size is not None:
        manifest = replace(manifest, shard_size=shard_size)
    writer = CacheWriter(Path(folder), manifest, texts)
    for shard in range(manifest.num_shards):
        write_shard(writer, shard, paths, np.stack([pack(maps) for maps in views], 1))
    writer.finish()
    return str(folder)


def write_shard(writer, shard, paths, packed):
    """Write one shard, given the paths and the packed maps (N,) or (N, K) of all images."""
    rows = writer.manifest.rows(shard)
    chosen = paths[rows.start : rows.stop]
    digests = np.array([file_digest(path) for path in chosen], np.uint32)
    packed = packed.reshape(len(packed), -1)[rows.start : rows.stop]
    views = np.zeros((*packed.shape, 2, 3), np.float32) if packed.shape[1] > 1 else None
    writer.write(
        shard_name(shard),
        image_keys(chosen, writer.manifest.name_parts),
        make_records(packed, np.broadcast_to(digests[:, None], packed.shape), views),
    )
