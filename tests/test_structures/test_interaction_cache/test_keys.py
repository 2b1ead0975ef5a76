import pytest
from lfi.structures.interaction_cache import CacheError, keys_of, name_parts


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
    assert len(set(keys_of(paths, parts).tolist())) == len(paths)


def test_an_image_that_comes_twice_is_refused():
    with pytest.raises(CacheError, match='an image comes twice'):
        name_parts(['a/1.jpg', 'a/1.jpg'])
