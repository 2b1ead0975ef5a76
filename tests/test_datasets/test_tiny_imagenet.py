import numpy as np
import pytest
from lfi.datasets import TinyImageNet
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader

LOAD = dict(type='LoadImageFromFile')


def test_training_images_of_the_listed_classes(fake_tiny_imagenet):
    data = TinyImageNet(fake_tiny_imagenet, 'train')
    assert len(data) == 9
    info = data.get_data_info(1)
    assert info['img_path'] == str(fake_tiny_imagenet / 'train/n03/images/n03_1.JPEG')
    assert info['gt_label'] == 0
    np.testing.assert_array_equal(info['gt_bboxes'], np.array([[1, 2, 41, 53]], np.float32))
    assert info['gt_bboxes'].dtype == np.float32
    assert data.get_gt_labels().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_validation_images_of_the_listed_classes(fake_tiny_imagenet):
    data = TinyImageNet(fake_tiny_imagenet, 'val', test_mode=True)
    assert [data.get_data_info(i)['img_path'].rsplit('/')[-1] for i in range(len(data))] == [
        'val_2.JPEG',
        'val_0.JPEG',
        'val_1.JPEG',
    ]
    assert data.get_gt_labels().tolist() == [0, 1, 2]
    np.testing.assert_array_equal(data.get_data_info(0)['gt_bboxes'], np.array([[2, 1, 61, 64]], np.float32))


def test_shared_names_are_told_apart(fake_tiny_imagenet):
    names = TinyImageNet.class_names(fake_tiny_imagenet)
    assert names == ['goldfish', 'crane', 'wading bird']
    assert TinyImageNet(fake_tiny_imagenet).metainfo['classes'] == tuple(names)


def test_names_that_two_synonyms_do_not_tell_apart(fake_tiny_imagenet):
    (fake_tiny_imagenet / 'words.txt').write_text('n01\tcrane\nn02\tcrane\nn03\tgoldfish\n')
    assert TinyImageNet.class_names(fake_tiny_imagenet) == ['goldfish', 'crane (n01)', 'crane (n02)']


def test_images_per_class_takes_the_first(fake_tiny_imagenet):
    data = TinyImageNet(fake_tiny_imagenet, images_per_class=2)
    assert data.get_gt_labels().tolist() == [0, 0, 1, 1, 2, 2]
    assert data.get_data_info(1)['img_path'].endswith('n03_1.JPEG')


def test_images_per_class_takes_a_range(fake_tiny_imagenet):
    data = TinyImageNet(fake_tiny_imagenet, images_per_class=(1, 3))
    names = [data.get_data_info(i)['img_path'].rsplit('/')[-1] for i in range(2)]
    assert names == ['n03_1.JPEG', 'n03_2.JPEG']
    assert data.get_gt_labels().tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize('split', ['train', 'val'])
def test_max_classes_takes_the_first(fake_tiny_imagenet, split):
    data = TinyImageNet(fake_tiny_imagenet, split, max_classes=2)
    assert data.metainfo['classes'] == ('goldfish', 'crane')
    assert set(data.get_gt_labels()) == {0, 1}
    assert TinyImageNet.count_classes(fake_tiny_imagenet, 2) == 2
    assert TinyImageNet.count_classes(fake_tiny_imagenet, 9) == 3


@pytest.mark.parametrize('split', ['train', 'val'])
def test_first_class_leaves_out_those_before_it(fake_tiny_imagenet, split):
    everything = TinyImageNet(fake_tiny_imagenet, split)
    data = TinyImageNet(fake_tiny_imagenet, split, first_class=1, max_classes=1)
    assert data.metainfo['classes'] == everything.metainfo['classes'][1:2]
    files = {everything.get_data_info(i)['img_path'] for i in np.flatnonzero(everything.get_gt_labels() == 1)}
    assert {data.get_data_info(i)['img_path'] for i in range(len(data))} == files
    assert set(data.get_gt_labels()) == {0}


def test_lazy_init_reads_no_annotation(fake_tiny_imagenet):
    data = TinyImageNet(fake_tiny_imagenet, lazy_init=True)
    assert data.metainfo['classes'][0] == 'goldfish'
    assert not data._fully_initialized
    assert len(data) == 9


def test_builds_from_a_config_with_a_pipeline_and_workers(fake_tiny_imagenet):
    data = DATASETS.build(
        dict(
            type='lfi.TinyImageNet',
            data_root=str(fake_tiny_imagenet),
            split='train',
            pipeline=[LOAD, dict(type='RandomFlip', prob=1.0), dict(type='PackInputs')],
            _scope_='mmpretrain',
        )
    )
    loader = DataLoader(data, batch_size=3, num_workers=2, collate_fn=list)
    items = [item for batch in loader for item in batch]
    assert [int(item['data_samples'].gt_label) for item in items] == data.get_gt_labels().tolist()
    assert items[0]['inputs'].shape == (3, 64, 64)


@pytest.mark.parametrize(
    'missing',
    ['wnids.txt', 'words.txt', 'train/n01/images', 'train/n01/n01_boxes.txt', 'val/val_annotations.txt'],
)
def test_what_is_missing_is_named(fake_tiny_imagenet, missing):
    (fake_tiny_imagenet / missing).rename(fake_tiny_imagenet / 'elsewhere')
    with pytest.raises(FileNotFoundError) as error:
        TinyImageNet(fake_tiny_imagenet, 'val' if missing.startswith('val') else 'train')
    assert str(fake_tiny_imagenet / missing) in str(error.value)
    assert 'LFI_DATA_ROOT' in str(error.value)


def test_a_line_that_does_not_read_is_named(fake_tiny_imagenet):
    path = fake_tiny_imagenet / 'train/n01/n01_boxes.txt'
    path.write_text('n01_0.JPEG\t0\t0\t60\n')
    with pytest.raises(ValueError, match=r'n01_boxes\.txt, line 1: expected 5 columns, found 4'):
        TinyImageNet(fake_tiny_imagenet)


def test_an_image_without_a_box_is_named(fake_tiny_imagenet):
    path = fake_tiny_imagenet / 'train/n01/n01_boxes.txt'
    path.write_text('n01_0.JPEG\t0\t0\t60\t60\n')
    with pytest.raises(ValueError, match=r'no box for n01_1\.JPEG'):
        TinyImageNet(fake_tiny_imagenet)


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(split='test'), "split='test'"),
        (dict(images_per_class=0), 'images_per_class=0'),
        (dict(images_per_class=(2, 2)), r'images_per_class=\(2, 2\)'),
        (dict(max_classes=0), 'max_classes=0'),
        (dict(first_class=3), 'first_class=3 leaves no class'),
        (dict(first_class=-1), 'first_class=-1 leaves no class'),
        (dict(images_per_class=(90, 95)), r'images_per_class=\(90, 95\) leaves no image of n0'),
    ],
)
def test_bad_arguments_are_named(fake_tiny_imagenet, kwargs, words):
    with pytest.raises(ValueError, match=words):
        TinyImageNet(fake_tiny_imagenet, **kwargs)


def test_the_real_data(data_root):
    root = data_root('tiny-imagenet-200')
    for split in ('train', 'val'):
        data = TinyImageNet(root, split, pipeline=[LOAD], test_mode=True)
        classes = data.metainfo['classes']
        assert len(set(classes)) == len(classes) > 1
        counts = np.bincount(data.get_gt_labels(), minlength=len(classes))
        assert counts.min() == counts.max() > 0
        item = data[len(data) - 1]
        assert item['img'].shape == (64, 64, 3)
        assert (item['gt_bboxes'] >= 0).all() and (item['gt_bboxes'] <= 64).all()
