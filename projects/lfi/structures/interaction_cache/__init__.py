"""Interaction maps on disk: written once, in shards, and read by memory mapping.

A cache is a folder:

- `manifest.json`: what made the maps, and what they are;
- `keys.npy`: (N,) uint64, the digests of the images' names, in the order of the records;
- `sizes.npy`: (N,) int64, the sizes of the images' files, by which others of the same names are noticed;
- `texts.npy`: (C, E) float32, the concepts' unit embeddings;
- `shard-*.npy`: records of `lfi.structures.pack`, and beside each its checksum, written last. Presence in
  them is the teacher's own; that of labels is the view's, and joins it in training.

Nothing in it is pickled. This folder imports `structures` alone.
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
