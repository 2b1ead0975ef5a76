import numpy as np
import pytest
from lfi.structures import missing_records
from lfi.structures.interaction_cache import CacheError, InteractionCache, image_keys, name_parts
from small_cache import PATHS, maps_in, open_writer, write_all
from written_cache import write_shard


@pytest.mark.parametrize(
    ('paths', 'parts'),
    [
        (['/r/a/1.jpg', '/r/a/2.jpg'], 2),
        (['/r/a/1.jpg', '/r/b/1.jpg'], 2),
        (['/r/x/a/1.jpg', '/r/y/a/1.jpg'], 3),
        (['1.jpg', '2.jpg'], 2),
        (['1.jpg', 'a/1.jpg'], 2),
    ],
)
def test_as_few_parts_of_a_path_as_tell_the_images_apart(paths, parts):
    assert name_parts(paths) == parts
    assert len(set(image_keys(paths, parts).tolist())) == len(paths)


def test_an_image_that_comes_twice_is_refused():
    with pytest.raises(CacheError, match='an image comes twice'):
        name_parts(['a/1.jpg', 'a/1.jpg'])


@pytest.mark.parametrize('path', ['/r/a/1.jpg', 'r/a//1.jpg', './r/./a/1.jpg', 's3://r/a/1.jpg'])
def test_spellings_of_a_path_have_one_key(path):
    np.testing.assert_array_equal(image_keys([path], 2), image_keys(['a/1.jpg'], 2))


NAMES = [path.removeprefix('/data/') for path in PATHS]


@pytest.fixture
def make_images(tmp_path):
    """`make_images(root, content)` are the paths of ten files that hold this content and their names."""

    def make(root, content):
        paths = [tmp_path / root / name for name in NAMES]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + path.name)
        return [str(path) for path in paths]

    return make


@pytest.fixture
def written(tmp_path, manifest, packed, make_images):
    """The folder of a cache of images that are there, and their paths."""
    folder, paths = tmp_path / 'written', make_images('photos', 'photo')
    write_all(folder, manifest, packed, paths)
    return folder, paths


@pytest.mark.parametrize('content', ['sketch', 'PHOTO'])
def test_images_of_another_folder_are_refused_by_their_files(written, packed, make_images, content):
    folder, paths = written
    assert maps_in(InteractionCache(folder).read(paths), packed) == packed.tobytes()
    copied = make_images('copied', 'photo')
    assert maps_in(InteractionCache(folder).read(copied), packed) == packed.tobytes()
    others = make_images('others', content)
    # A worker that has read no image of the first folder knows it, too.
    with pytest.raises(CacheError, match=rf'written for another image than {others[4]}: .*share the last 2'):
        InteractionCache(folder).read(others[4:])
    # What is no file of this machine is known by its name alone.
    assert maps_in(InteractionCache(folder).read(PATHS), packed) == packed.tobytes()


@pytest.mark.parametrize('content', [b'more', b'photo3.jpg'[::-1]])
def test_an_image_that_changes_under_its_name_is_refused(written, content):
    folder, paths = written
    with open(paths[3], 'wb') as file:
        file.write(content)
    cache = InteractionCache(folder)
    cache.read(paths[:3])
    with pytest.raises(CacheError, match=rf'for another image than {paths[3]}: the file has changed'):
        cache.read(paths[3:])


def test_what_could_not_be_read_is_said_before_its_change(written, manifest, packed):
    folder, paths = written
    packed[6] = missing_records(1, packed.dtype)[0]
    write_shard(open_writer(folder, manifest), 1, paths, packed)
    with open(paths[6], 'ab') as file:
        file.write(b'repaired')
    with pytest.raises(CacheError, match='could not be read when the cache was written'):
        InteractionCache(folder).read(paths[6:7])
