"""Cache of interaction maps on disk: written once, in shards.

A cache is a folder:

- `manifest.json`: the teacher and the format of the maps;
- `texts.npy`: (C, E) float32, unit embeddings of all texts of the bank;
- `shard-*.safetensors`: records of `lfi.structures.pack`, in the order of the images, each with a checksum.
  A shard is written in one step. The records hold the teacher's presence. Training raises it by the labels of
  the view;
- `index.npy`: (N,) digests of the images' names, sorted, each with the image's row;
- `index-blocks.npy`: the first digest of each 256. It is written last and marks the cache as complete.

A cache of tar files has no index, and a shard for each tar, `<name of the tar>.safetensors`: its sidecar.

No file is pickled.
"""

from .files import CacheError, checksum, shard_file, shard_name, sidecar_name
from .keys import image_keys, name_parts
from .manifest import NUM_COMPLETE, CacheManifest, difference, shard_size
from .reader import CacheFolder, InteractionCache, StoredMaps
from .records import make_records
from .shards import Shard, starts_shard
from .sidecars import Sidecar, SidecarImage, member_key
from .writer import CacheWriter

__all__ = [
    'CacheError',
    'CacheFolder',
    'CacheManifest',
    'CacheWriter',
    'InteractionCache',
    'NUM_COMPLETE',
    'Shard',
    'Sidecar',
    'SidecarImage',
    'StoredMaps',
    'checksum',
    'difference',
    'image_keys',
    'make_records',
    'member_key',
    'name_parts',
    'shard_file',
    'shard_name',
    'sidecar_name',
    'shard_size',
    'starts_shard',
]
