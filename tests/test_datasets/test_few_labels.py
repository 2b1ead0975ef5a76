"""`FewLabels` keeps few labels of a data set, and hides all others."""

import logging
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.datasets import FewLabels, Shapes, unaugmented
from lfi.unreadable import UnreadableList, replace_unreadable
from mmdet.engine.hooks import PipelineSwitchHook
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.registry import DATASETS
from mmpretrain.datasets import BaseDataset as ClassificationDataset
from mmpretrain.registry import TRANSFORMS
from torch.utils.data import DataLoader

PACK = dict(type='mmpretrain.PackInputs')
SHAPES = dict(type='lfi.Shapes', split='train', num_images=65, img_size=32, pipeline=[PACK])


class Labels(ClassificationDataset):
    """Images of which nothing is known but the label."""

    def __init__(self, labels, classes=None, **kwargs):
        self.labels = labels
        super().__init__(ann_file='', classes=classes, **kwargs)

    def load_data_list(self):
        return [
            dict(img_path=str(i)) if label is None else dict(img_path=str(i), gt_label=label)
            for i, label in enumerate(self.labels)
        ]


class Boxes(BaseDataset):
    """Images with an object each of the category 2, as mmdet has them."""

    def __init__(self, images=1):
        self.images = images
        super().__init__()

    def load_data_list(self):
        return [dict(img_path='a', instances=[dict(bbox_label=2)]) for _ in range(self.images)]

    def get_cat_ids(self, index):
        return [instance['bbox_label'] for instance in self.get_data_info(index)['instances']]


@settings(max_examples=50)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
    fewer=st.integers(0, 5),
    more=st.integers(0, 5),
)
def test_each_class_keeps_as_many_and_fewer_are_among_more(labels, seed, fewer, more):
    counts = np.unique(labels, return_counts=True)[1]
    fewer, more = sorted(min(n, int(counts.min())) for n in (fewer, more))
    few, many = (FewLabels(Labels(labels), n, seed) for n in (fewer, more))
    assert set(np.flatnonzero(few.labelled)) <= set(np.flatnonzero(many.labelled))
    kept = np.array(labels)[many.labelled]
    assert not more or np.unique(kept, return_counts=True)[1].tolist() == [more] * len(counts)
    assert many.get_gt_labels().tolist() == np.where(many.labelled, labels, -1).tolist()
    assert (FewLabels(Labels(labels), more, seed).labelled == many.labelled).all()


def test_another_seed_is_another_choice():
    choices = {FewLabels(SHAPES, 1, seed).labelled.tobytes() for seed in range(5)}
    assert len(choices) == 5


def test_hidden_labels_leave_the_pipeline_marked_and_known_ones_as_they_were():
    few, all_labels = FewLabels(SHAPES, 2), DATASETS.build(SHAPES)
    assert len(few) == 65
    for i in range(len(few)):
        info, sample = few.get_data_info(i), few[i]['data_samples']
        original = all_labels[i]
        assert np.array_equal(few[i]['inputs'], original['inputs'])
        if few.labelled[i]:
            assert info['gt_label'] == sample.gt_label.item() == original['data_samples'].gt_label.item()
            assert 'unlabelled' not in sample and 'unlabelled' not in info
        else:
            assert (info['gt_label'], sample.gt_label.item()) == (-1, -1)
            assert info['unlabelled'] is sample.metainfo['unlabelled'] is True


def test_a_pipeline_to_which_a_hook_switches_gets_no_hidden_label():
    few = FewLabels(DATASETS.build(SHAPES), labels_per_class=1)
    loader = DataLoader(few, batch_size=None)
    runner = SimpleNamespace(epoch=1, train_dataloader=loader, logger=logging.getLogger())
    small = [dict(type='mmdet.Resize', scale=(16, 16)), PACK]
    PipelineSwitchHook(1, small).before_train_epoch(runner)
    for index, known in enumerate(few.labelled):
        sample = few[index]
        assert sample['inputs'].shape == (3, 16, 16)
        assert (sample['data_samples'].gt_label.item() == -1) == (not known)
        assert sample['data_samples'].metainfo.get('unlabelled', False) == (not known)


def test_a_data_set_that_is_handed_in_keeps_its_labels():
    shapes = Shapes('train', num_images=40, img_size=32, pipeline=[TRANSFORMS.build(PACK)])
    few = FewLabels(shapes, labels_per_class=0)
    assert few[3]['data_samples'].gt_label.item() == -1
    assert shapes[3]['data_samples'].gt_label.item() == 3


def test_an_image_that_stands_in_for_another_has_its_own_label(fake_tiny_imagenet):
    bad = fake_tiny_imagenet / 'train/n03/images/n03_0.JPEG'
    bad.write_bytes(b'')
    pipeline = [dict(type='LoadImageFromFile'), PACK]
    config = dict(type='lfi.TinyImageNet', data_root=fake_tiny_imagenet, pipeline=pipeline)
    few = FewLabels(config, labels_per_class=1)
    replace_unreadable(few, 0.5, UnreadableList(fake_tiny_imagenet))
    labels = {info['img_path']: info['gt_label'] for info in map(few.get_data_info, range(len(few)))}
    for _ in range(10):
        sample = few[0]['data_samples']
        assert sample.img_path != str(bad)
        assert labels[sample.img_path] == sample.gt_label.item()


def test_it_is_a_data_set_for_the_hooks_and_wrappers_of_others():
    few = FewLabels(dict(SHAPES, lazy_init=True), 1, lazy_init=True)
    assert few.CLASSES == few.metainfo['classes'] == tuple(Shapes.class_names())
    both = ConcatDataset([SHAPES, dict(type='lfi.FewLabels', dataset=SHAPES, labels_per_class=0)])
    assert (both[3]['data_samples'].gt_label, both[68]['data_samples'].gt_label) == (3, -1)
    copied = pickle.loads(pickle.dumps(few))
    assert (copied.labelled == few.labelled).all()
    assert 'FewLabels of 1 labels a class' in repr(copied) and 'PackInputs' in repr(copied)


@pytest.mark.parametrize('count', ['labels_per_class', 'labelled_images'])
def test_images_as_they_are_on_disk_serve_any_choice_of_labels(count):
    flip = dict(type='RandomFlip', prob=0.5)
    config = ConfigDict({'type': 'lfi.FewLabels', count: 1, 'dataset': dict(SHAPES, pipeline=[flip, PACK])})
    dataset = DATASETS.build(unaugmented(config))
    assert not dataset.labelled.any()
    assert dataset[0]['data_samples'].metainfo['unlabelled'] is True
    assert config[count] == 1


@given(images=st.integers(1, 12), fewer=st.integers(0, 12), more=st.integers(0, 12), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_images_with_boxes_keep_all_of_them_or_are_marked(images, fewer, more, seed):
    fewer, more = sorted(min(n, images) for n in (fewer, more))
    few, many = (FewLabels(Boxes(images), seed=seed, labelled_images=n) for n in (fewer, more))
    assert few.labelled.sum() == fewer and not (few.labelled & ~many.labelled).any()
    assert [few.get_data_info(i).get('unlabelled', False) for i in range(images)] == (~few.labelled).tolist()
    assert [few.get_cat_ids(i) for i in range(images)] == [[2] if known else [-1] for known in few.labelled]
    assert f'{fewer} labelled images, seed {seed}' in repr(few)


def test_without_labels_a_data_set_need_not_have_any():
    assert not FewLabels(Labels([None, None]), 0).labelled.any()
    assert FewLabels(Labels([None]), 0).get_data_info(0)['gt_label'] == -1


@pytest.mark.parametrize(
    ('labels', 'arguments', 'message'),
    [
        ([0, 0, 1], dict(labels_per_class=2), 'labels_per_class=2, but class 1 .ring. has 1 images'),
        ([0, 0], dict(labels_per_class=1), 'labels_per_class=1, but class 1 .ring. has 0 images'),
        ([0, 1, -1], dict(labels_per_class=2), 'class 0 .star. has 1 images with a label'),
        ([0, 1], dict(labels_per_class=-1), 'labels_per_class=-1 must be a whole number of 0 or more'),
        ([0, 1], dict(labels_per_class=0.5), 'labels_per_class=0.5 must be a whole number'),
        ([0, 1], dict(labels_per_class=1, seed=-1), 'seed=-1 must be'),
        ([0, 1], dict(labels_per_class=1, split='train'), 'no argument split: .*dataset=dict'),
        ([0, 1], dict(), 'exactly one of labels_per_class and labelled_images, got neither'),
        (
            [0, 1],
            dict(labels_per_class=1, labelled_images=1),
            'set exactly one of .*, got {.*labelled_images.: 1}',
        ),
        ([0, 1], dict(labelled_images=3), 'labelled_images=3, but Labels has 2 images with annotations'),
        ([0, 1], dict(labelled_images=True), 'labelled_images=True must be a whole number'),
    ],
)
def test_what_cannot_be_is_refused(labels, arguments, message):
    with pytest.raises(ValueError, match=message):
        FewLabels(Labels(labels, classes=['star', 'ring']), **arguments)


@pytest.mark.parametrize(
    ('dataset', 'labels_per_class', 'message'),
    [
        (
            Boxes(),
            1,
            'Boxes has not one class for each image: .* is None.* boxes or masks, set labelled_images',
        ),
        (
            Labels([[0, 1]]),
            1,
            r'gt_label of 0 is \[0, 1\].* several classes of an image, .*set labelled_images',
        ),
        (Labels([None]), 1, 'gt_label of 0 is None'),
        (
            ConcatDataset([SHAPES]),
            1,
            'cannot wrap ConcatDataset. .*: in a wrapper such as ConcatDataset, wrap each',
        ),
        ([1, 2], 1, 'cannot wrap list'),
    ],
)
def test_what_is_no_classification_data_set_is_refused(dataset, labels_per_class, message):
    with pytest.raises(TypeError, match=message):
        FewLabels(dataset, labels_per_class)


def test_no_step_sees_the_objects_of_a_hidden_image():
    seen = []
    data = Boxes(images=3)
    data.pipeline = lambda info: seen.append(info) or info
    few = FewLabels(data, labelled_images=1)
    for index in range(3):
        few[index]
    assert [len(info['instances']) for info in seen] == few.labelled.tolist()
    assert [len(few.get_data_info(index)['instances']) for index in range(3)] == few.labelled.tolist()
    # The caller's data set keeps them.
    assert all(len(data.get_data_info(index)['instances']) == 1 for index in range(3))


def test_no_step_sees_the_boxes_of_a_hidden_image_of_our_data_sets(fake_tiny_imagenet):
    for config in (SHAPES, dict(type='lfi.TinyImageNet', data_root=str(fake_tiny_imagenet), split='train')):
        data = DATASETS.build({**config, 'pipeline': []})
        data.pipeline = dict
        few = FewLabels(data, labels_per_class=1)
        seen = [few[index] for index in range(len(few))]
        assert ['gt_bboxes' in info for info in seen] == few.labelled.tolist()
        hidden = [info for info in seen if 'gt_bboxes' not in info]
        assert hidden and not any({'gt_bboxes_labels', 'gt_masks'} & set(info) for info in hidden)
        assert all('gt_bboxes' in data.get_data_info(index) for index in range(len(data)))


@pytest.mark.parametrize('dataset', [Boxes(), Labels([[0, 1]]), Labels([None])])
def test_0_hides_labels_of_any_kind(dataset):
    assert not FewLabels(dataset, labels_per_class=0).labelled.any()
