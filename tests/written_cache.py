"""Writing of a cache of given maps, without a teacher and images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from lfi.structures import pack
from lfi.structures.interaction_cache import CacheManifest, CacheWriter, image_keys, make_records
from lfi.utils.fileio import file_size


def write_cache(folder, teacher, paths, texts, maps, *, shard_size=None, **fields):
    """Write a finished cache of the maps of the images at `paths`, and return its folder."""
    manifest = CacheManifest.of(teacher, len(paths), 2, texts, maps, **fields)
    if shard_size is not None:
        manifest = replace(manifest, shard_size=shard_size)
    writer = CacheWriter(Path(folder), manifest, texts)
    for shard in range(manifest.num_shards):
        write_shard(writer, shard, paths, pack(maps))
    writer.finish()
    return str(folder)


def write_shard(writer, shard, paths, packed):
    """Write one shard, given the paths and the packed maps of all images."""
    rows = writer.manifest.rows(shard)
    chosen = paths[rows.start : rows.stop]
    sizes = np.array([file_size(path) for path in chosen], np.int64)
    records = make_records(packed[rows.start : rows.stop, None], sizes)
    writer.write(shard, image_keys(chosen, writer.manifest.name_parts), records)
