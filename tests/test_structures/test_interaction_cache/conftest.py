"""A finished cache of ten images in three shards."""

from dataclasses import replace

import pytest
from lfi.structures import pack
from lfi.structures.interaction_cache import CacheManifest, image_keys
from small_cache import PATHS, TEXTS, open_writer


@pytest.fixture
def maps(make_maps):
    return make_maps(shape=(len(PATHS), 2, 3, 4, 4))


@pytest.fixture
def records(maps):
    return pack(maps)


@pytest.fixture
def manifest(maps):
    teacher = dict(model='vit', concepts=['cat', 'dog'], weights='abc')
    return replace(CacheManifest.of(teacher, image_keys(PATHS, 2), 2, TEXTS, maps), shard_size=4)


@pytest.fixture
def folder(tmp_path, manifest, records):
    writer = open_writer(tmp_path / 'cache', manifest)
    for shard in range(manifest.num_shards):
        writer.write(shard, records[manifest.rows(shard).start : manifest.rows(shard).stop])
    return tmp_path / 'cache'
