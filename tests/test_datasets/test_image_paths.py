"""The distinct images of a data set, and the parts of their paths that tell them apart."""

import os

import pytest
from lfi.datasets import FewLabels, ImageFolder
from lfi.datasets.image_paths import distinct_images, distinguishing_parts
from lfi.errors import UsageError
from lfi.structures.interaction_cache import image_keys
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset


@pytest.fixture
def make_folder(tmp_path):
    """Make a folder of empty files."""

    def make(*names, root='photos'):
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / root

    return make


NAMES = ['b/1.jpg', 'a/2.PNG', 'a/1.jpg', 'ä/\udcff.jpg']


def test_the_paths_of_a_folder_are_those_of_its_data_infos(make_folder):
    folder = make_folder(*NAMES)
    data = ImageFolder(folder)
    paths, indices = distinct_images(data)
    infos = [data.get_data_info(index) for index in indices]
    assert list(paths) == [info['img_path'] for info in infos]
    assert sorted(os.path.relpath(path, folder) for path in paths) == sorted(NAMES)
    assert list(paths[1:3]) == [paths[1], paths[2]] and paths[-1] == paths[3]


@pytest.mark.parametrize('indices', [2, -2, [3, 0]])
def test_a_subset_of_a_folder_has_the_paths_of_the_subset(make_folder, indices):
    folder = make_folder(*NAMES)
    every = [info['img_path'] for info in map(ImageFolder(folder).get_data_info, range(4))]
    expected = (
        [every[i] for i in indices]
        if isinstance(indices, list)
        else (every[:indices] if indices > 0 else every[indices:])
    )
    part = ImageFolder(folder, indices=indices)
    assert list(distinct_images(part)[0]) == expected
    assert [part.get_data_info(i)['img_path'] for i in range(2)] == expected


def test_an_image_that_several_data_sets_name_comes_once(make_folder):
    folder = make_folder(*NAMES)
    data = ImageFolder(folder)
    for several in (ConcatDataset([data, data]), RepeatDataset(data, 2), FewLabels(data, labels_per_class=0)):
        paths, indices = distinct_images(several)
        assert len(paths) == 4 and list(indices) == [0, 1, 2, 3]


def test_a_data_set_without_paths_is_refused():
    data = BaseDataset(serialize_data=False, lazy_init=True)
    data.data_list, data._fully_initialized = [{'label': 0}], True
    with pytest.raises(UsageError, match='the data set has no img_path'):
        distinct_images(data)


@pytest.mark.parametrize(
    ('names', 'parts'),
    [
        (['1.jpg', '2.jpg'], 2),
        (['a/1.jpg', 'b/1.jpg'], 2),
        (['x/a/1.jpg', 'y/a/1.jpg'], 3),
        (['1.jpg', 'a/1.jpg'], 2),
        # The last two parts of both images are photos/1.jpg.
        (['1.jpg', 'photos/1.jpg'], 3),
    ],
)
def test_as_many_parts_are_taken_as_tell_the_images_apart(make_folder, names, parts):
    data = ImageFolder(make_folder(*names))
    paths, _ = distinct_images(data)
    assert distinguishing_parts(data, paths) == parts
    assert len(set(image_keys(paths, parts).tolist())) == len(names)
