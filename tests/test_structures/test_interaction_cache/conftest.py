"""A finished cache of ten images in three shards."""

from dataclasses import replace

import pytest
from lfi.structures import pack
from lfi.structures.interaction_cache import CacheManifest
from small_cache import PATHS, TEXTS, write_all


@pytest.fixture
def maps(make_maps):
    return make_maps(shape=(len(PATHS), 2, 3, 4, 4))


@pytest.fixture
def packed(maps):
    return pack(maps)


@pytest.fixture
def manifest(maps):
    teacher = dict(model='vit', concepts=['cat', 'dog'], weights='abc')
    return replace(CacheManifest.of(teacher, len(PATHS), 2, TEXTS, maps), shard_size=4)


@pytest.fixture
def folder(tmp_path, manifest, packed):
    write_all(tmp_path / 'cache', manifest, packed)
    return tmp_path / 'cache'
