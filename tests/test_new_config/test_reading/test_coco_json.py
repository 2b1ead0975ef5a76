"""Data sets of COCO JSON, written by supervision and pycocotools."""

from urllib.parse import quote

import numpy as np
import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from pycocotools import mask as coco_mask
from small_data_sets import BOXES, HEIGHT, WIDTH, boxes_of, change_json, write_coco

pytest.importorskip('supervision')


@pytest.mark.parametrize('with_masks', [False, True])
def test_boxes_and_masks_come_back(with_masks, tmp_path):
    file = write_coco(tmp_path / 'data', with_masks=with_masks)
    if with_masks:
        change_json(file, encode_first_mask)
    data = find_data(tmp_path / 'data', tmp_path)
    assert data.task == ('instance segmentation' if with_masks else 'object detection')
    assert (data.form, data.classes) == ('COCO JSON, annotations/instances_train.json', ('cat', 'dog'))
    images = sorted(data.train)
    assert [image.path for image in images] == [f'train/{number}.jpg' for number in range(6)]
    for number, image in enumerate(images):
        assert image.size == (WIDTH, HEIGHT)
        assert [item['category'] for item in image.objects] == [number % 2, 1]
        assert np.allclose(boxes_of(image), BOXES, atol=1)
    assert find_data(file, tmp_path).train == data.train


def encode_first_mask(content):
    """Write a mask as pycocotools compresses it."""
    encoded = coco_mask.encode(np.asfortranarray(np.ones((HEIGHT, WIDTH), np.uint8)))
    content['annotations'][0]['segmentation'] = {**encoded, 'counts': encoded['counts'].decode()}


def test_classes_are_in_the_order_of_their_ids(tmp_path):
    def renumber(content):
        content['categories'] = [{'id': 7, 'name': 'dog'}, {'id': 3, 'name': 'cat'}]
        for annotation in content['annotations']:
            annotation['category_id'] = 7

    data = find_data(change_json(write_coco(tmp_path / 'data'), renumber), tmp_path)
    assert data.classes == ('cat', 'dog')
    assert {item['category'] for image in data.train for item in image.objects} == {1}


def test_roboflow_puts_files_beside_the_images_of_each_split(tmp_path):
    (tmp_path / 'data').mkdir()
    for split in ('train', 'valid', 'test'):
        file = write_coco(tmp_path / split, count=2)
        folder = (tmp_path / split / 'train').rename(tmp_path / 'data' / split)
        file.rename(folder / '_annotations.coco.json')
    data = find_data(tmp_path / 'data', tmp_path)
    assert data.form == 'COCO JSON, train/_annotations.coco.json and valid/_annotations.coco.json'
    assert sorted(image.path for image in data.val) == ['valid/0.jpg', 'valid/1.jpg']
    assert data.notes == ('the split test is left out: valid validates',)


def test_label_studio_names_an_image_as_it_serves_it(tmp_path):
    def export(content):
        for image in content['images']:
            image['file_name'] = f'/data/local-files/?d={quote(image["file_name"])}'
        # An image without objects.
        last = content['images'][-1]
        last['width'] = last['height'] = None
        content['annotations'] = [each for each in content['annotations'] if each['image_id'] != last['id']]

    file = write_coco(tmp_path / 'data')
    for image in (tmp_path / 'data/train').iterdir():
        image.rename(image.with_name(f'a ü {image.name}'))
    change_json(file, rename_images)
    expected = find_data(tmp_path / 'data', tmp_path).train
    found = find_data(change_json(file, export), tmp_path).train
    assert found[:-1] == expected[:-1]
    assert found[-1].path == expected[-1].path and not found[-1].objects


def rename_images(content):
    for image in content['images']:
        image['file_name'] = f'a ü {image["file_name"]}'


def test_files_of_captions_and_keypoints_are_no_objects(tmp_path):
    file = write_coco(tmp_path / 'data')

    def add_keypoints(content):
        content['categories'][0]['keypoints'] = ['nose']

    for name in ('captions_train.json', 'person_keypoints_train.json'):
        (file.parent / name).write_text(file.read_text())
    change_json(file.parent / 'captions_train.json', lambda content: content.pop('categories'))
    change_json(file.parent / 'person_keypoints_train.json', add_keypoints)
    assert find_data(tmp_path / 'data', tmp_path).form == 'COCO JSON, annotations/instances_train.json'


def test_sizes_may_be_missing(tmp_path):
    file = change_json(write_coco(tmp_path / 'data'), lambda content: content['images'][0].pop('width'))
    assert {image.size for image in find_data(file, tmp_path).train} == {(WIDTH, HEIGHT)}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda content: content['annotations'][0].update(category_id=99),
            'annotation of category_id 99, which its',
        ),
        (lambda content: content['annotations'].clear(), 'has no annotation of an object'),
        (
            lambda content: content['annotations'][3].update(id=content['annotations'][1]['id']),
            r'has \d+ annotations, but \d+ different ids, such as 2 twice: number the annotations anew',
        ),
        (
            lambda content: content['images'][3].update(id=content['images'][1]['id']),
            'has 6 images, but 5 different ids, such as .* twice: number the images anew',
        ),
        (
            lambda content: [item.update(bbox=[0.1, 0.1, 0.5, 0.5]) for item in content['annotations']],
            r'boxes of less than a pixel .* left out: .*\[0\.1, .*, and none is left: write x, y',
        ),
        (
            lambda content: content['annotations'][1].pop('bbox'),
            "lacks the field 'bbox' of COCO JSON",
        ),
        (
            lambda content: content['annotations'][2].update(
                segmentation={'size': [80, 96], 'counts': [5, 6]}
            ),
            'the run-length encoding of annotation 3 is no mask of the 96 x 80 pixels of 1.jpg: correct it',
        ),
        (
            lambda content: content['images'][0].update(file_name='gone.jpg'),
            r'1 of 6 images of \S+ do not exist, such as \S+gone.jpg: put the images beside',
        ),
    ],
)
def test_wrong_files_are_refused_in_one_line(change, message, tmp_path):
    file = change_json(write_coco(tmp_path / 'data'), change)
    with pytest.raises(UsageError, match=message) as error:
        find_data(file, tmp_path)
    assert '\n' not in str(error.value)


def test_an_object_of_area_0_stays_and_gets_the_area_of_its_box(tmp_path):
    file = write_coco(tmp_path / 'data')
    expected = [image.objects for image in find_data(file, tmp_path).train]
    change_json(file, lambda content: [item.update(area=0) for item in content['annotations']])
    found = find_data(file, tmp_path).train
    assert [[item['bbox'] for item in image.objects] for image in found] == [
        [item['bbox'] for item in objects] for objects in expected
    ]
    assert not any('area' in item for image in found for item in image.objects)


@pytest.mark.parametrize('box', [[0, 0, 0.5, 20], [200, 3, 10, 10], [5, 5, -4, 4], [-9, 2, 8, 8]])
def test_objects_that_mmdet_would_leave_out_are_noted(tmp_path, box):
    file = write_coco(tmp_path / 'data')
    before = find_data(file, tmp_path).train
    change_json(file, lambda content: content['annotations'][0].update(bbox=box))
    data = find_data(file, tmp_path)
    assert sum(len(image.objects) for image in data.train) == sum(len(image.objects) for image in before) - 1
    assert any('boxes of less than a pixel of the image were left out: 1, such as' in n for n in data.notes)


def test_objects_to_ignore_are_left_out_as_mmdet_does(tmp_path):
    file = write_coco(tmp_path / 'data')
    before = find_data(file, tmp_path).train
    change_json(file, lambda content: content['annotations'][0].update(ignore=1))
    data = find_data(file, tmp_path)
    assert sum(len(image.objects) for image in data.train) == sum(len(image.objects) for image in before) - 1
    assert data.notes[0] == 'annotations with ignore=1 were left out of instances_train.json: 1'


def test_splits_must_have_the_same_categories(tmp_path):
    file = write_coco(tmp_path / 'data')
    other = file.with_name('instances_val.json')
    other.write_text(file.read_text())
    (tmp_path / 'data/val').symlink_to(tmp_path / 'data/train')
    change_json(other, lambda content: content['categories'][0].update(name='bird'))
    with pytest.raises(UsageError, match='have different categories, cat, dog, … and bird, dog'):
        find_data(tmp_path / 'data', tmp_path)
    other.rename(file.with_name('instances_more.json'))
    with pytest.raises(
        UsageError, match='found 2 COCO files, .*: give one of them, or leave one for training'
    ):
        find_data(tmp_path / 'data', tmp_path)
