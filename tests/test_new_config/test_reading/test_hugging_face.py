"""Data sets on disk, written by Hugging Face's datasets."""

import sys

import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from PIL import Image
from small_data_sets import HEIGHT, WIDTH, write_hugging_face

datasets = pytest.importorskip('datasets')


def test_images_become_files(tmp_path, monkeypatch):
    """The folder of the images does not depend on where a training starts."""
    monkeypatch.chdir(tmp_path)
    root = write_hugging_face(tmp_path / 'data')
    data = find_data(root, tmp_path.joinpath('out').relative_to(tmp_path))
    assert (data.task, data.classes, data.root) == ('classification', ('cat', 'dog'), tmp_path / 'out')
    assert [image.path for image in data.train[:2]] == ['train/0.png', 'train/1.png']
    assert [image.classes[0] for image in data.train] == [0, 1] * 3
    with Image.open(data.root / data.train[3].path) as image:
        assert image.size == (WIDTH, HEIGHT)
        assert image.tobytes() == datasets.load_from_disk(str(root))[3]['image'].tobytes()


def test_images_of_an_earlier_data_set_are_replaced(tmp_path):
    first = find_data(write_hugging_face(tmp_path / 'a', 2), tmp_path / 'out')
    before = (tmp_path / 'out' / first.train[0].path).read_bytes()
    other = datasets.load_from_disk(str(tmp_path / 'a')).select([1, 0])
    other.save_to_disk(str(tmp_path / 'b'))
    find_data(tmp_path / 'b', tmp_path / 'out')
    assert (tmp_path / 'out' / first.train[0].path).read_bytes() != before


def test_a_dict_of_splits_has_a_validation(tmp_path):
    splits = {
        name: datasets.load_from_disk(str(write_hugging_face(tmp_path / name, count)))
        for name, count in (('train', 4), ('test', 2))
    }
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / 'data'))
    data = find_data(tmp_path / 'data', tmp_path / 'out')
    assert (len(data.train), [image.path for image in data.val]) == (4, ['val/0.png', 'val/1.png'])


def test_broken_images_are_left_out(tmp_path):
    features = datasets.Features({'image': datasets.Image(), 'label': datasets.ClassLabel(names=['a', 'b'])})
    data = datasets.load_from_disk(str(write_hugging_face(tmp_path / 'whole', 3))).cast_column(
        'image', datasets.Image(decode=False)
    )
    rows = [*data, {'image': {'bytes': b'no image', 'path': None}, 'label': 1}]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path / 'data'))
    found = find_data(tmp_path / 'data', tmp_path / 'out')
    assert len(found.train) == 3
    assert 'unreadable images were left out: 1, such as train/3.png' in found.notes


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            {'labels': ('coarse', 'fine')},
            r'has the columns image \(Image\), coarse \(ClassLabel\), fine .*one ClassLabel',
        ),
        ({'split': 'holdout'}, 'has the splits holdout, and no train: rename one'),
    ],
)
def test_wrong_data_sets_are_refused_in_one_line(arguments, message, tmp_path):
    with pytest.raises(UsageError, match=message) as error:
        find_data(write_hugging_face(tmp_path / 'data', **arguments), tmp_path / 'out')
    assert '\n' not in str(error.value)


def test_without_classes_it_is_for_pretraining(tmp_path):
    data = find_data(write_hugging_face(tmp_path / 'data', labels=()), tmp_path / 'out')
    assert (data.task, data.classes) == ('pretraining', ())


def test_datasets_must_be_installed(monkeypatch, tmp_path):
    root = write_hugging_face(tmp_path / 'data')
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(
        UsageError, match=r"read by Hugging Face's datasets, .*: pip install 'lfi\[formats\]'"
    ):
        find_data(root, tmp_path / 'out')
