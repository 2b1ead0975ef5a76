"""The split into training and validation images, and copies of files."""

import shutil
from collections import Counter

import pytest
from lfi.errors import UsageError
from lfi.new_config import check_splits, find_data
from small_data_sets import write_class_folders, write_table


@pytest.fixture
def read(tmp_path):
    return lambda: find_data(tmp_path, tmp_path)


def copy(root, source, target):
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / source, root / target)


def test_a_fifth_of_each_class_validates_and_the_choice_is_repeated(tmp_path, read):
    write_class_folders(tmp_path, count=10)
    data = check_splits(read())
    assert Counter(image.classes for image in data.val) == {(0,): 2, (1,): 2}
    assert not set(data.train) & set(data.val) and len(data.train) == 16
    assert data == check_splits(read())
    assert data.notes[-1].startswith(
        '4 of 20 images were split off for validation (a fifth of each class, seed 0'
    )
    assert check_splits(data) == data


def test_copies_of_a_file_stay_on_one_side(tmp_path, read):
    write_class_folders(tmp_path, count=5)
    for name in ('cat', 'dog'):
        for number in range(5):
            copy(tmp_path, f'{name}/{number}.jpg', f'{name}/copy_{number}.jpg')
    data = check_splits(read())
    sides = [{image.path.replace('copy_', '') for image in split} for split in (data.train, data.val)]
    assert not sides[0] & sides[1] and len(data.val) == 4


@pytest.mark.parametrize('rows', [('cat', 'cat', 'cat', 'dog')])
def test_a_class_needs_two_images(rows, tmp_path, read):
    write_table(
        tmp_path / 'a.csv', [('path', 'label'), *((f'{i}.jpg', label) for i, label in enumerate(rows))]
    )
    with pytest.raises(
        UsageError, match=r"the class 'dog' has one image \(3.jpg\), and training and validation"
    ):
        check_splits(read())


def test_copies_of_validation_images_are_left_out_of_the_training(tmp_path, read):
    write_class_folders(tmp_path / 'train')
    copy(tmp_path, 'train/cat/1.jpg', 'val/cat/0.jpg')
    copy(tmp_path, 'train/dog/2.jpg', 'val/dog/0.jpg')
    data = check_splits(read())
    assert len(data.train) == 6 and len(data.val) == 2
    assert data.notes == (
        'training images that are copies of validation images were left out: 2, such as train/cat/1.jpg',
    )


def test_some_training_images_must_be_others(tmp_path, read):
    write_class_folders(tmp_path / 'train')
    shutil.copytree(tmp_path / 'train', tmp_path / 'val')
    with pytest.raises(
        UsageError, match=r'all 8 training images of \S+ are validation images too: give other'
    ):
        check_splits(read())


def test_a_file_under_two_classes_is_noted(tmp_path, read):
    write_class_folders(tmp_path)
    copy(tmp_path, 'cat/1.jpg', 'dog/x.jpg')
    data = check_splits(read())
    assert len(data.train) + len(data.val) == 9
    assert data.notes[0] == (
        'images that are the same file under different classes: 1, such as cat/1.jpg (cat) and dog/x.jpg '
        '(dog)'
    )
