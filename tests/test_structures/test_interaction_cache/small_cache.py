"""What a cache of ten images in three shards is made of."""

import numpy as np
from lfi.structures.interaction_cache import CacheWriter, shard_name
from written_cache import write_shard

PATHS = [f'/data/set/{split}/{i}.jpg' for split in 'ab' for i in range(5)]
TEXTS = np.eye(2, dtype=np.float32)


def open_writer(folder, manifest):
    return CacheWriter(folder, manifest, TEXTS)


def write_all(folder, manifest, packed, paths=PATHS):
    """Write the shards that are missing, and the index."""
    writer = open_writer(folder, manifest)
    for shard in range(manifest.num_shards):
        if not writer.has_file(shard_name(shard)):
            write_shard(writer, shard, paths, packed)
    writer.finish()


def maps_in(records, packed):
    """The packed maps in records, with the dtype of `packed`."""
    maps = np.empty(records.shape, packed.dtype)
    for name in packed.dtype.names:
        maps[name] = records[name]
    return maps.tobytes()
