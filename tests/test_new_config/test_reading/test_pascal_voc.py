"""Data sets of Pascal VOC, written by supervision."""

import numpy as np
import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from small_data_sets import BOXES, HEIGHT, WIDTH, boxes_of, write_voc

pytest.importorskip('supervision')


def write_list(root, name, *lines):
    file = root / 'ImageSets' / 'Main' / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('\n'.join(lines))


def test_boxes_come_back(tmp_path):
    data = find_data(write_voc(tmp_path / 'data'), tmp_path)
    assert (data.task, data.classes) == ('object detection', ('cat', 'dog'))
    assert [image.path for image in data.train] == [f'JPEGImages/{number}.jpg' for number in range(6)]
    for number, image in enumerate(data.train):
        assert image.size == (WIDTH, HEIGHT)
        assert [item['category'] for item in image.objects] == [number % 2, 1]
        assert np.allclose(boxes_of(image), BOXES, atol=1)


def test_image_sets_are_the_split(tmp_path):
    root = write_voc(tmp_path / 'data')
    write_list(root, 'val.txt', '1 -1', '3')
    data = find_data(root, tmp_path)
    assert [image.path for image in data.val] == ['JPEGImages/1.jpg', 'JPEGImages/3.jpg']
    assert len(data.train) == 4
    write_list(root, 'train.txt', '0')
    assert [image.path for image in find_data(root, tmp_path).train] == ['JPEGImages/0.jpg']


def test_a_list_for_tests_is_left_out(tmp_path):
    root = write_voc(tmp_path / 'data')
    for name, number in (('train', '0'), ('val', '1'), ('test', '2')):
        write_list(root, f'{name}.txt', number)
    data = find_data(root, tmp_path)
    assert (len(data.train), len(data.val)) == (1, 1)
    assert data.notes == ('the split test is left out: val validates',)


def test_images_without_annotations_are_left_out(tmp_path):
    root = write_voc(tmp_path / 'data')
    (root / 'Annotations/2.xml').unlink()
    data = find_data(root, tmp_path)
    assert len(data.train) == 5
    assert data.notes == ('images without a file in Annotations were left out: 1, such as JPEGImages/2.jpg',)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda root: (root / 'JPEGImages/3.jpg').unlink(),
            r'1 XML files of \S+ have no image of the same name in \S+, such as 3.xml',
        ),
        (
            lambda root: (root / 'Annotations/2.xml').write_text('<annotation'),
            '2.xml cannot be read as XML: unclosed',
        ),
        (
            lambda root: (root / 'Annotations/2.xml').write_text('<a><object><name>cat</name></object></a>'),
            '2.xml cannot be read as Pascal VOC: ValueError: Missing bndbox',
        ),
        (
            lambda root: (root / 'JPEGImages/3.png').write_bytes((root / 'JPEGImages/3.jpg').read_bytes()),
            r'3\.xml is of two images of \S+, 3\.jpg and 3\.png: rename or remove one',
        ),
        (lambda root: write_list(root, 'train.txt', '99'), 'train.txt names 99, which has no image'),
    ],
)
def test_wrong_data_sets_are_refused_in_one_line(change, message, tmp_path):
    root = write_voc(tmp_path / 'data')
    change(root)
    with pytest.raises(UsageError, match=message) as error:
        find_data(root, tmp_path)
    assert '\n' not in str(error.value)
