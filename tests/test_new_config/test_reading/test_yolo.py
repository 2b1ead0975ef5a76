"""Data sets of YOLO, written by supervision."""

import sys

import numpy as np
import pytest
import yaml
from lfi.errors import UsageError
from lfi.new_config import find_data
from PIL import Image
from small_data_sets import BOXES, HEIGHT, WIDTH, boxes_of, write_yolo

pytest.importorskip('supervision')


@pytest.mark.parametrize('with_masks', [False, True])
def test_boxes_and_polygons_come_back(with_masks, tmp_path):
    data = find_data(write_yolo(tmp_path, with_masks=with_masks), tmp_path)
    assert data.task == ('instance segmentation' if with_masks else 'object detection')
    assert data.classes == ('cat', 'dog') and len(data.train) == 6
    for number, image in enumerate(data.train):
        assert image.path == f'images/{number}.jpg' and image.size == (WIDTH, HEIGHT)
        assert [item['category'] for item in image.objects] == [number % 2, 1]
        assert np.allclose(boxes_of(image), BOXES, atol=1)
        if with_masks:
            left, top, right, bottom = BOXES[0]
            corners = np.array(image.objects[0]['segmentation'][0]).reshape(-1, 2)
            assert np.allclose(corners.min(0), (left, top), atol=1)
            assert np.allclose(corners.max(0), (right, bottom), atol=1.5)


def test_the_yaml_names_the_split_and_the_folder(tmp_path):
    file = write_yolo(tmp_path / 'a')
    (tmp_path / 'a/val.txt').write_text('images/4.jpg\nimages/5.jpg\n')
    (tmp_path / 'a/labels/5.txt').unlink()
    content = {
        'path': '/of/another/machine',
        'train': ['images'],
        'val': 'val.txt',
        'names': {0: 'cat', 1: 'dog'},
    }
    file.write_text(yaml.safe_dump(content))
    data = find_data(tmp_path / 'a', tmp_path)
    assert [image.path for image in data.val] == ['images/4.jpg', 'images/5.jpg']
    assert data.val[0].objects and not data.val[1].objects
    file.write_text(yaml.safe_dump({**content, 'test': 'images'}))
    assert find_data(file, tmp_path).notes[0] == 'the split test is left out: val validates'


def test_an_empty_validation_is_noted(tmp_path):
    file = write_yolo(tmp_path)
    (tmp_path / 'empty').mkdir()
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, 'val': 'empty', 'test': 'images'}))
    assert find_data(file, tmp_path).notes[0] == 'val of data.yaml has no image'


def test_photos_are_turned_by_their_exif(tmp_path):
    file = write_yolo(tmp_path, count=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / 'images/0.jpg') as image:
        image.save(tmp_path / 'images/0.jpg', exif=exif)
    (image,) = find_data(file, tmp_path).train
    assert image.size == (HEIGHT, WIDTH)


def write_label(text):
    return lambda root: (root / 'labels/0.txt').write_text(text)


def write_names(**content):
    def change(root):
        (root / 'data.yaml').write_text(
            yaml.safe_dump({'names': ['cat', 'dog'], 'train': 'images', **content})
        )

    return change


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            write_label('5 .5 .5 .1 .1\n'),
            r'0.txt has the class 5, but the YAML file names only 2 classes: add the name to names',
        ),
        (
            write_label('1 50 50 10 10\n'),
            r'0.txt has the coordinate 50: YOLO divides coordinates by the width',
        ),
        (write_label('cat .5 .5 .1 .1\n'), r"0.txt: Invalid class id 'cat'"),
        (write_label('1 .5 .5\n'), r'0.txt: Invalid YOLO annotation line'),
        (write_names(train='nowhere'), r"train='nowhere' of \S+data.yaml does not exist: "),
        (write_names(names={0: 'cat', 3: 'dog'}), r'data.yaml: the keys of names must count from 0 to 1'),
        (write_names(kpt_shape=[17, 3]), r'data.yaml has kpt_shape, and LFI trains no keypoints'),
        (
            lambda root: (root / 'data.yaml').unlink(),
            r'has labels of YOLO, and no YAML file that names their',
        ),
        (
            lambda root: (root / 'data.yaml').write_text('names: ['),
            r'data.yaml cannot be read: while parsing',
        ),
        (
            lambda root: (root / 'labels').rename(root / 'boxes'),
            r'have no labels: the labels of images/a.jpg are',
        ),
    ],
)
def test_wrong_data_sets_are_refused_in_one_line(change, message, tmp_path):
    root = write_yolo(tmp_path / 'data').parent
    change(root)
    for folder in ('originals',):
        (root / folder).rename(tmp_path / folder)
    with pytest.raises(UsageError, match=message) as error:
        find_data(root, tmp_path)
    assert '\n' not in str(error.value)


def test_supervision_must_be_installed(monkeypatch, tmp_path):
    file = write_yolo(tmp_path)
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(UsageError, match=r"YOLO is read by supervision, .*: pip install 'lfi\[formats\]'"):
        find_data(file, tmp_path)


def test_labels_without_images_and_images_without_labels_are_noted(tmp_path):
    pytest.importorskip('supervision')
    file = write_yolo(tmp_path / 'data')
    labels = sorted(tmp_path.rglob('labels/**/*.txt'))
    labels[0].rename(labels[0].with_name('stray.txt'))
    notes = find_data(file, tmp_path).notes
    assert f'images without a label file show no object: 1 of 6, such as {labels[0].stem}' in notes[0]
    assert notes[1] == 'label files without an image were left out: 1, such as stray.txt'
