import numpy as np
import pytest
from lfi.structures import missing_records
from lfi.structures.interaction_cache import (
    CacheError,
    InteractionCache,
    image_keys,
    name_parts,
    record_sizes,
)
from small_cache import PATHS, open_writer


@pytest.mark.parametrize(
    ('paths', 'parts'),
    [
        (['/r/a/1.jpg', '/r/a/2.jpg'], 2),
        (['/r/a/1.jpg', '/r/b/1.jpg'], 2),
        (['/r/x/a/1.jpg', '/r/y/a/1.jpg'], 3),
        (['1.jpg', '2.jpg'], 2),
    ],
)
def test_as_few_parts_of_a_path_as_tell_the_images_apart(paths, parts):
    assert name_parts(paths) == parts
    assert len(set(image_keys(paths, parts).tolist())) == len(paths)


def test_an_image_that_comes_twice_is_refused():
    with pytest.raises(CacheError, match='an image comes twice'):
        name_parts(['a/1.jpg', 'a/1.jpg'])


NAMES = [path.removeprefix('/data/') for path in PATHS]


@pytest.fixture
def make_images(tmp_path):
    """`make_images(root, size)` are the paths of ten files of this many bytes."""

    def make(root, size):
        paths = [tmp_path / root / name for name in NAMES]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b'x' * size)
        return [str(path) for path in paths]

    return make


@pytest.fixture
def written(tmp_path, manifest, records, make_images):
    """The folder of a cache of images that are there, and their paths."""
    folder, paths = tmp_path / 'written', make_images('photos', 50)
    writer = open_writer(folder, manifest)
    record_sizes(writer, paths)
    for shard in range(manifest.num_shards):
        writer.write(shard, records[manifest.rows(shard).start : manifest.rows(shard).stop])
    return folder, paths


def test_images_of_another_folder_are_refused_by_their_sizes(written, records, make_images):
    folder, paths = written
    assert InteractionCache(folder).read(paths).tobytes() == records.tobytes()
    copied = make_images('copied', 50)
    assert InteractionCache(folder).read(copied).tobytes() == records.tobytes()
    sketches = make_images('sketches', 60)
    with pytest.raises(CacheError, match=rf'for another image of this name: {sketches[4]} has 60 bytes, and'):
        InteractionCache(folder).read(sketches[4:])
    # What is no file of this machine is known by its name alone.
    assert InteractionCache(folder).read(PATHS).tobytes() == records.tobytes()


def test_an_image_that_changes_under_its_name_is_refused(written, manifest):
    folder, paths = written
    with open(paths[3], 'ab') as file:
        file.write(b'more')
    cache = InteractionCache(folder)
    cache.read(paths[:3])
    with pytest.raises(CacheError, match=rf'{paths[3]} has 54 bytes, and had 50. .* without sizes.npy'):
        cache.read(paths[3:])
    with pytest.raises(CacheError, match='has 54 bytes'):
        record_sizes(open_writer(folder, manifest), paths)
    (folder / 'sizes.npy').unlink()
    InteractionCache(folder).read(paths)


def test_an_image_may_be_repaired_before_it_has_maps(tmp_path, manifest, records, make_images):
    folder, paths = tmp_path / 'repaired', make_images('photos', 8)
    writer = open_writer(folder, manifest)
    record_sizes(writer, paths)
    for shard in range(2):
        rows = manifest.rows(shard)
        kept = records[rows.start : rows.stop].copy()
        if shard == 1:
            kept[2] = missing_records(1, kept.dtype)[0]
        writer.write(shard, kept)
    for path in (paths[6], *paths[8:]):
        with open(path, 'ab') as file:
            file.write(b'repaired')
    writer = open_writer(folder, manifest)
    record_sizes(writer, paths)
    for shard in (1, 2):
        writer.write(shard, records[manifest.rows(shard).start : manifest.rows(shard).stop])
    assert InteractionCache(folder).read(paths).tobytes() == records.tobytes()


def test_what_could_not_be_read_is_said_before_its_size(written, manifest, records):
    folder, paths = written
    holed = records[4:8].copy()
    holed[2] = missing_records(1, holed.dtype)[0]
    open_writer(folder, manifest).write(1, holed)
    with open(paths[6], 'ab') as file:
        file.write(b'repaired')
    with pytest.raises(CacheError, match='could not be read when the cache was written'):
        InteractionCache(folder).read(paths[6:7])


def test_a_cache_that_was_begun_without_sizes_stays_without(folder, manifest, make_images):
    paths = make_images('photos', 50)
    record_sizes(open_writer(folder, manifest), paths)
    assert not (folder / 'sizes.npy').exists()
    InteractionCache(folder).read(paths)


@pytest.mark.parametrize('content', [b'', b'cut off', None])
def test_sizes_that_cannot_be_read_are_named(written, content):
    folder, _ = written
    if content is None:
        np.save(folder / 'sizes.npy', np.zeros(3, np.int64))
    else:
        (folder / 'sizes.npy').write_bytes(content)
    with pytest.raises(CacheError, match='sizes.npy is corrupted. Remove it'):
        InteractionCache(folder)
