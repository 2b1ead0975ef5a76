"""Cache of interaction maps on disk: written once, in shards, and memory-mapped for reading.

A cache is a folder:

- `manifest.json`: the teacher, the data and the format of the maps;
- `keys.npy`: (N,) uint64, digests of the images' names, in the order of the records;
- `sizes.npy`: (N,) int64, sizes in bytes of the images' files, to detect other images of the same names;
- `texts.npy`: (C, E) float32, unit embeddings of all texts of the bank;
- `shard-*.npy`: records of `lfi.structures.pack`, each file with a checksum that is written last. The records
  hold the teacher's presence. Training raises it by the labels of the view.

No file is pickled.
"""

from .files import CacheError, checksum
from .keys import image_keys, name_parts, record_sizes
from .manifest import CacheManifest, difference, shard_size
from .reader import InteractionCache, StoredMaps
from .writer import CacheWriter

__all__ = [
    'CacheError',
    'CacheManifest',
    'CacheWriter',
    'InteractionCache',
    'StoredMaps',
    'checksum',
    'difference',
    'record_sizes',
    'image_keys',
    'name_parts',
    'shard_size',
]
