"""What is written, as mmdet's and mmpretrain's data sets read it."""

import csv
import json

import mmdet.datasets.transforms  # noqa: F401
import numpy as np
import pytest
from lfi.errors import CheckpointWriteError
from lfi.pseudo_labels import ObjectLabel, write_labels
from lfi.pseudo_labels.written_labels import image_record, unreadable_record
from mmengine.registry import DefaultScope
from PIL import Image

CONCEPTS = ('a cat', 'Hündin', 'tree')
SIZE = (12, 16)


@pytest.fixture
def masks():
    masks = np.zeros((3, *SIZE), bool)
    masks[0, 2:6, 3:9] = True
    masks[1, 7:, :5] = masks[1, 6, 2] = True
    masks[2, :2, 10:] = True
    return masks


@pytest.fixture
def records(tmp_path, masks):
    """Four images, of which one shows nothing, one a concept that is nowhere; and one that is unreadable."""
    files = [tmp_path / 'images' / name for name in ('a b.png', 'x/ü.png', 'x/none.png', 'nowhere.png')]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(file)
    objects = [ObjectLabel.from_mask(c, s, mask) for c, s, mask in zip((1, 1, 2), (0.9, 0.7, 0.5), masks)]
    shown = [
        ({1: 0.95, 2: 0.6}, objects),
        ({0: 0.7}, [ObjectLabel.from_mask(0, 0.6, masks[0])]),
        ({}, []),
        ({2: 0.8}, []),
    ]
    good = [image_record(str(file), SIZE, *of) for file, of in zip(files, shown)]
    return [*good[:2], unreadable_record(str(tmp_path / 'images/bad.png'), 'cut\noff'), *good[2:]]


@pytest.fixture
def out(tmp_path):
    (tmp_path / 'out').mkdir()
    return tmp_path / 'out'


def test_mmdet_reads_boxes_masks_and_negatives(records, masks, out, tmp_path):
    from mmdet.datasets import CocoDataset

    root = write_labels(out, records, CONCEPTS)
    assert root == tmp_path / 'images'
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = CocoDataset(
            ann_file=str(out / 'annotations.json'),
            data_prefix=dict(img=str(root)),
            metainfo=dict(classes=CONCEPTS),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            ],
        )
        loaded = [data[i] for i in range(len(data))]
    assert [results['img_path'].split('/')[-1] for results in loaded] == [
        'a b.png',
        'ü.png',
        'none.png',
        'nowhere.png',
    ]
    first = loaded[0]
    assert first['gt_bboxes_labels'].tolist() == [1, 1, 2]
    np.testing.assert_array_equal(first['gt_masks'].to_ndarray().astype(bool), masks)
    boxes = first['gt_bboxes'].tensor.tolist()
    assert boxes == [[3, 2, 9, 6], [0, 6, 5, 12], [10, 0, 16, 2]]
    assert [len(results['gt_bboxes']) for results in loaded] == [3, 1, 0, 0]
    written = json.loads((out / 'annotations.json').read_text())
    assert [each['score'] for each in written['annotations']] == [0.9, 0.7, 0.5, 0.6]
    assert [each['name'] for each in written['categories']] == list(CONCEPTS)


def test_mmpretrain_reads_the_images_that_show_a_concept(records, out):
    from mmpretrain.datasets import CustomDataset

    root = write_labels(out, records, CONCEPTS)
    data = CustomDataset(
        data_root='',
        ann_file=str(out / 'labels.txt'),
        data_prefix=str(root),
        classes=str(out / 'classes.txt'),
        pipeline=[dict(type='LoadImageFromFile')],
    )
    assert data.metainfo['classes'] == CONCEPTS
    assert data.get_gt_labels().tolist() == [1, 0, 2]
    assert [data[i]['img'].shape for i in range(3)] == [(*SIZE, 3)] * 3
    with (out / 'scores.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row.values()) for row in rows] == [
        ('a b.png', '1', 'Hündin', '0.95'),
        ('a b.png', '2', 'tree', '0.6'),
        ('x/ü.png', '0', 'a cat', '0.7'),
        ('nowhere.png', '2', 'tree', '0.8'),
    ]


def test_a_name_may_begin_with_a_space(out, tmp_path):
    from mmpretrain.datasets import CustomDataset

    for name in (' a.png', 'b.png'):
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / name)
    files = [image_record(str(tmp_path / name), SIZE, {0: 0.9}, []) for name in (' a.png', 'b.png')]
    root = write_labels(out, files, CONCEPTS)
    load = [dict(type='LoadImageFromFile')]
    data = CustomDataset(
        ann_file=str(out / 'labels.txt'), data_prefix=str(root), classes=CONCEPTS, pipeline=load
    )
    assert [data[i]['img'].shape for i in range(2)] == [(*SIZE, 3)] * 2


def test_unreadable_images_are_named_and_nowhere_else(records, out, tmp_path):
    write_labels(out, records, CONCEPTS)
    assert (out / 'unreadable.txt').read_text() == f'{tmp_path}/images/bad.png: cut off\n'
    for name in ('annotations.json', 'labels.txt', 'scores.csv'):
        assert 'bad.png' not in (out / name).read_text()


def test_a_record_is_the_same_after_a_round_through_json(records):
    assert json.loads(json.dumps(records)) == records


def test_images_of_different_folders_have_a_common_one(tmp_path, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = ['one/a.png', str(tmp_path / 'two/deep/b.png')]
    assert write_labels(out, [image_record(f, SIZE, {0: 1.0}, []) for f in files], CONCEPTS) == tmp_path
    assert (out / 'labels.txt').read_text() == 'one/a.png 0\ntwo/deep/b.png 0\n'


def test_a_file_that_cannot_be_written_is_named(records, out):
    (out / 'classes.txt').mkdir()
    with pytest.raises(CheckpointWriteError, match='classes.txt .* cannot be written'):
        write_labels(out, records, CONCEPTS)
