"""`lfi test --data`: any data set of `lfi init` tests a model, by the model's own labels."""

import json

import lfi
import numpy as np
import pytest
import torch
from lfi.engine.checkpoints.reading import safe_checkpoint_loading
from lfi.errors import UsageError
from lfi.new_config.testing import set_test_data
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from small_data_sets import write_class_folders, write_coco, write_masks, write_table

LOAD = dict(type='LoadImageFromFile')
PACK = dict(type='PackInputs')


def config(scope, *pipeline, **model):
    dataset = dict(type='ThatOfTheTraining', pipeline=list(pipeline))
    return Config(dict(default_scope=scope, model=model, test_dataloader=dict(dataset=dataset)))


def test_a_saved_student_is_tested_on_a_folder(call_tool, small_training, tmp_path):
    call_tool('export --to hub', *small_training(), 'student')
    # Of the 20 classes of the student, in another order.
    write_class_folders(tmp_path / 'photos', ('q', 'b', 'c'), 4)
    options = ('--data', 'photos', '--out', 'metrics.json', '--out-item', 'metrics')
    # The command line installs the loading of students' folders for its whole process.
    with safe_checkpoint_loading():
        call_tool('test', 'student', 'student', *options)
    student = lfi.load(tmp_path / 'student')
    files = sorted((tmp_path / 'photos').glob('*/*.*'))
    correct = [
        file.parent.name == student.classes[answer.labels[0]]
        for file, answer in zip(files, student.predict(files))
    ]
    top1 = json.loads((tmp_path / 'metrics.json').read_text())['accuracy/top1']
    assert top1 == pytest.approx(100 * np.mean(correct)) and len(correct) == 12


@pytest.mark.parametrize('head', ['LinearClsHead', 'MultiLabelLinearClsHead'])
def test_labels_of_a_table_become_those_of_the_model(head, tmp_path):
    rows = [(f'{number}.jpg', 'cat' if number % 2 else 'dog') for number in range(4)]
    table = write_table(tmp_path / 'labels.csv', rows)
    cfg = config('mmpretrain', LOAD, PACK, head=dict(type=head))
    set_test_data(cfg, ('bird', 'dog', 'cat'), table, tmp_path / 'out')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        from mmpretrain.registry import DATASETS

        samples = [DATASETS.build(cfg.test_dataloader.dataset)[number]['data_samples'] for number in range(4)]
    assert [sample.gt_label.tolist() for sample in samples] == [[1], [2], [1], [2]]


def test_boxes_that_are_found_as_annotated_have_the_best_score(tmp_path):
    pytest.importorskip('supervision')
    file = write_coco(tmp_path / 'data')
    cfg = config('mmdet', LOAD, dict(type='mmdet.PackDetInputs'), type='lfi.Student')
    set_test_data(cfg, ('extra', *reversed(classes_of(file))), file, tmp_path / 'out')
    with DefaultScope.overwrite_default_scope('mmdet'):
        from mmdet.registry import METRICS

        dataset = MMDET_DATASETS.build(cfg.test_dataloader.dataset)
        metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        sample, truth = dataset[index]['data_samples'], dataset.get_data_info(index)['instances']
        boxes, labels = (torch.tensor([item[key] for item in truth]) for key in ('bbox', 'bbox_label'))
        found = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(truth)))
        metric.process({}, [dict(img_id=sample.img_id, ori_shape=sample.ori_shape, pred_instances=found)])
    assert metric.evaluate(len(dataset))['coco/bbox_mAP'] == 1


def classes_of(file):
    return [category['name'] for category in json.loads(file.read_text())['categories']]


def test_masks_are_read_after_the_image(tmp_path):
    pytest.importorskip('mmseg')
    root = write_masks(tmp_path / 'data')
    names = tuple((root / 'classes.txt').read_text().split())
    cfg = config('mmseg', LOAD, dict(type='PackSegInputs'))
    set_test_data(cfg, names, root, tmp_path / 'out')
    with DefaultScope.overwrite_default_scope('mmseg'):
        from mmseg.registry import DATASETS

        sample = DATASETS.build(cfg.test_dataloader.dataset)[0]['data_samples']
    mask = np.array(Image.open(sample.seg_map_path))
    assert np.array_equal(sample.gt_sem_seg.data[0], mask)
    with pytest.raises(UsageError, match='they must be equal, in the same order'):
        set_test_data(cfg, names[::-1], root, tmp_path / 'out')


@pytest.mark.parametrize(
    ('scope', 'classes', 'message'),
    [
        (
            'mmpretrain',
            ('cat', 'bird'),
            r"has the class 'dog', which the model lacks: name .* cat \| bird, or leave",
        ),
        ('mmdet', ('cat', 'dog'), 'is for classification, and the model is of mmdet, for another task'),
        (None, ('cat', 'dog'), 'is for classification, and the model is of None'),
    ],
)
def test_other_data_are_refused(scope, classes, message, tmp_path):
    write_class_folders(tmp_path / 'photos')
    with pytest.raises(UsageError, match=message):
        set_test_data(config(scope, LOAD, PACK), classes, tmp_path / 'photos', tmp_path / 'out')


def test_classes_without_an_image_are_named_where_they_count(tmp_path, warnings):
    table = write_table(tmp_path / 'labels.csv', [('0.jpg', 'cat|dog'), ('1.jpg', 'dog')], count=2)
    cfg = config('mmpretrain', LOAD, PACK, head=dict(type='MultiLabelLinearClsHead'))
    set_test_data(cfg, ('cat', 'dog', 'bird'), table, tmp_path / 'out')
    assert "1 of 3 classes are in no image, such as 'bird'" in warnings[0]


def test_several_labels_an_image_need_a_head_for_them(tmp_path):
    table = write_table(tmp_path / 'labels.csv', [('0.jpg', 'cat|dog'), ('1.jpg', 'dog')], count=2)
    with pytest.raises(UsageError, match='several labels an image, and the model predicts one'):
        set_test_data(
            config('mmpretrain', LOAD, PACK, head=dict(type='X')), ('cat', 'dog'), table, tmp_path / 'out'
        )


def test_several_processes_are_refused(small_training, call_tool):
    with pytest.raises(UsageError, match='tests in one process'):
        call_tool('test', *small_training(), '--data', 'photos', '--launcher', 'pytorch')
