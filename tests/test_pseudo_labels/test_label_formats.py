"""Formats of labels, read back by other libraries."""

import json
import os
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from lfi.errors import UsageError
from lfi.new_config import find_data
from lfi.pseudo_labels import ObjectLabel, write_labels
from lfi.pseudo_labels.label_formats import FORMATS, check_names
from lfi.pseudo_labels.written_labels import image_record
from mmengine.registry import DefaultScope
from PIL import Image

CONCEPTS = ('a <cat>', 'Hündin', 'no')
SIZE = (12, 16)
BOXES = {'a b.png': [(1, (3, 2, 9, 6)), (2, (10, 0, 16, 2))], 'ü.png': [(0, (0, 6, 5, 12))], 'none.png': []}
"""Class and box (x1 y1 x2 y2) of the objects of each image."""


@pytest.fixture
def root(tmp_path):
    for name in BOXES:
        (tmp_path / 'images').mkdir(exist_ok=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / 'images' / name)
    return tmp_path / 'images'


@pytest.fixture
def out(root, tmp_path):
    records = []
    for name, boxes in BOXES.items():
        objects = []
        for concept, (x1, y1, x2, y2) in boxes:
            mask = np.zeros(SIZE, bool)
            mask[y1:y2, x1:x2] = True
            objects.append(ObjectLabel.from_mask(concept, 0.9 - 0.2 * len(objects), mask))
        records.append(image_record(str(root / name), SIZE, {c: 0.9 for c, _ in boxes}, objects))
    (tmp_path / 'out').mkdir()
    assert write_labels(tmp_path / 'out', records, CONCEPTS, tuple(FORMATS)) == root
    # A second run replaces the links of the first.
    write_labels(tmp_path / 'out', records, CONCEPTS, tuple(FORMATS))
    return tmp_path / 'out'


def test_supervision_reads_yolo(out):
    supervision = pytest.importorskip('supervision')
    folder = out / 'yolo'
    data = supervision.DetectionDataset.from_yolo(
        str(folder / 'images'), str(folder / 'labels'), str(folder / 'data.yaml')
    )
    assert data.classes == list(CONCEPTS)
    found = {
        os.path.basename(path): sorted(zip(boxes.class_id.tolist(), boxes.xyxy.round(3).tolist()))
        for path, _, boxes in data
    }
    expected = {name: sorted((c, list(map(float, box))) for c, box in boxes) for name, boxes in BOXES.items()}
    assert found == expected


@pytest.mark.parametrize('data', ['yolo/data.yaml', 'voc'])
def test_lfi_init_reads_them_back(out, data):
    pytest.importorskip('supervision')
    found = find_data(out / data, out)
    assert sorted(found.classes) == sorted(
        CONCEPTS if data.startswith('yolo') else {'a <cat>', 'Hündin', 'no'}
    )
    by_name = {os.path.basename(image.path): image.objects for image in found.train}
    for name, boxes in BOXES.items():
        objects = [(found.classes[item['category']], *item['bbox']) for item in by_name.get(name, ())]
        expected = [(CONCEPTS[c], x1, y1, x2 - x1, y2 - y1) for c, (x1, y1, x2, y2) in boxes]
        assert [each[0] for each in sorted(objects)] == [each[0] for each in sorted(expected)]
        for one, other in zip(sorted(objects), sorted(expected)):
            np.testing.assert_allclose(one[1:], other[1:], atol=1)


@pytest.mark.parametrize('data', ['yolo/data.yaml', 'voc'])
def test_images_of_equal_names_in_subfolders_keep_their_own_labels(tmp_path, data):
    pytest.importorskip('supervision')
    records = []
    for concept, folder in enumerate(('one', 'two words')):
        path = tmp_path / 'photos' / folder / 'a.png'
        path.parent.mkdir(parents=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)
        objects = [ObjectLabel.from_mask(concept, 0.9, np.ones(SIZE, bool))]
        records.append(image_record(str(path), SIZE, {concept: 0.9}, objects))
    write_labels(tmp_path, records, CONCEPTS, ('yolo', 'voc'))
    found = find_data(tmp_path / data, tmp_path)
    assert {
        image.path.split('/')[-2]: found.classes[image.objects[0]['category']] for image in found.train
    } == {'one': CONCEPTS[0], 'two words': CONCEPTS[1]}


def test_yolo_finds_the_labels_beside_the_images(out):
    """Ultralytics takes the paths of `train.txt`, and replaces the last `/images/` by `/labels/`."""
    folder = out / 'yolo'
    data = yaml.safe_load((folder / 'data.yaml').read_text())
    assert data['names'] == dict(enumerate(CONCEPTS)) and data['path'] == str(folder)
    for line, name in zip((folder / data['train']).read_text().splitlines(), BOXES):
        image = line.replace('./', f'{folder}/')
        assert Image.open(image).size == SIZE[::-1]
        labels = os.path.splitext(image.replace('/images/', '/labels/'))[0] + '.txt'
        with open(labels) as file:
            assert len(file.readlines()) == len(BOXES[name])


def test_mmdet_reads_voc(out):
    from mmdet.datasets import XMLDataset

    class Pngs(XMLDataset):
        def load_data_list(self):
            self.cat2label = {name: i for i, name in enumerate(CONCEPTS)}
            folder = out / 'voc'
            names = (folder / 'ImageSets/Main/train.txt').read_text().splitlines()
            return [
                self.parse_data_info(
                    dict(
                        img_id=name,
                        file_name=f'JPEGImages/{name}.png',
                        xml_path=str(folder / f'Annotations/{name}.xml'),
                    )
                )
                for name in names
            ]

    with DefaultScope.overwrite_default_scope('mmdet'):
        data = Pngs(
            data_root=str(out / 'voc'),
            data_prefix=dict(sub_data_root=''),
            metainfo=dict(classes=CONCEPTS),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)],
        )
        loaded = [data[i] for i in range(len(data))]
    found = [
        sorted(zip(each['gt_bboxes_labels'].tolist(), map(tuple, each['gt_bboxes'].tensor.tolist())))
        for each in loaded
    ]
    # mmdet keeps the last pixel as the end of a box.
    assert found == [
        sorted((c, (x1, y1, x2 - 1, y2 - 1)) for c, (x1, y1, x2, y2) in boxes) for boxes in BOXES.values()
    ]


def test_cvat_and_label_studio_have_the_boxes(out):
    root = ElementTree.parse(out / 'cvat.xml').getroot()
    assert [label.text for label in root.iterfind('meta/task/labels/label/name')] == list(CONCEPTS)
    corners = ('xtl', 'ytl', 'xbr', 'ybr')
    found = {
        image.get('name'): [
            (CONCEPTS.index(box.get('label')), tuple(float(box.get(corner)) for corner in corners))
            for box in image.iterfind('box')
        ]
        for image in root.iterfind('image')
    }
    assert found == BOXES


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (
            ['a.jpg', 'b/a.jpg', 'a.png'],
            "--formats yolo finds .* 'a.jpg' and 'a.png' differ in the suffix alone",
        ),
        (['images/a.jpg'], "--formats yolo: .* 'images/a.jpg' has one of its own: rename it"),
        (['a\nb.jpg'], '--formats yolo cvat: the file name .* is not UTF-8 or has a control'),
        (['\udcff.jpg'], '--formats yolo cvat: the file name .* is not UTF-8 or has a control'),
    ],
)
def test_names_that_a_format_cannot_hold_are_refused(names, message):
    with pytest.raises(UsageError, match=message):
        check_names(names, ('yolo', 'cvat'))
    check_names(names, ())
    if 'suffix' in message or 'of its own' in message:
        check_names(names, ('cvat', 'label-studio'))


def test_objects_below_the_least_score_are_left_out(root, tmp_path):
    mask = np.ones(SIZE, bool)
    objects = [ObjectLabel.from_mask(c, score, mask) for c, score in ((0, 0.8), (1, 0.3), (2, 0.29))]
    record = image_record(str(root / 'a b.png'), SIZE, {0: 0.9, 1: 0.5, 2: 0.4}, objects)
    write_labels(tmp_path, [record], CONCEPTS, ('yolo',), min_score=0.3)
    assert len(json.loads((tmp_path / 'annotations.json').read_text())['annotations']) == 2
    assert len((tmp_path / 'yolo/labels/a b.txt').read_text().splitlines()) == 2
    # Presence has a threshold of its own.
    assert len((tmp_path / 'scores.csv').read_text().splitlines()) == 4
