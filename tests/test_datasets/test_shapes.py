import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.datasets import Shapes
from lfi.datasets.rendering.scene import MAIN_AREA_RATIO
from mmdet.datasets.transforms import LoadAnnotations
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader

samples = dict(
    split=st.sampled_from(['train', 'val', 'test']),
    domain=st.sampled_from(Shapes.DOMAINS),
    img_size=st.sampled_from([32, 64, 100]),
    seed=st.integers(0, 2**32 - 1),
    index=st.integers(0, 30),
)


def image(split='train', index=0, **kwargs):
    return Shapes(split, num_images=index + 1, **kwargs).get_data_info(index)['img']


@settings(max_examples=40)
@given(**samples)
def test_annotations_agree_with_one_another(split, domain, img_size, seed, index):
    data = Shapes(split, num_images=31, img_size=img_size, domains=domain, seed=seed)
    info = data.get_data_info(index)
    masks, boxes, labels = info['gt_masks'], info['gt_bboxes'], info['gt_bboxes_labels']

    assert info['img'].shape == (img_size, img_size, 3) and info['img'].dtype == np.uint8
    assert info['img_shape'] == info['ori_shape'] == (img_size, img_size)
    assert 1 <= len(masks) <= 4
    assert masks.shape == (len(labels), img_size, img_size) and masks.dtype == bool
    assert boxes.shape == (len(labels), 4) and boxes.dtype == np.float32
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int)):
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (x0, y0, x1, y1)
    assert masks.sum(0).max() == 1

    detection = dict(info)
    LoadAnnotations(with_bbox=True, with_mask=True)(detection)
    assert torch.equal(detection['gt_bboxes'].tensor, torch.from_numpy(boxes))
    assert detection['gt_bboxes_labels'].tolist() == labels.tolist()
    assert (detection['gt_masks'].masks == masks).all()

    areas = masks.sum((1, 2))
    assert labels[0] == info['gt_label']
    assert all(areas[0] >= MAIN_AREA_RATIO * area for area in areas[1:])

    assert info['domain'] == domain and info['caption'].endswith(f', {domain}')
    for label in labels:
        assert f' {Shapes.class_names()[label]}' in info['caption']


def test_an_image_depends_on_seed_split_and_index_alone():
    data = Shapes('train', num_images=40, domains=Shapes.DOMAINS)
    first = [data.get_data_info(i)['img'] for i in range(40)]
    again = Shapes('train', num_images=500, domains=Shapes.DOMAINS, cache=False)
    for i in reversed(range(40)):
        np.testing.assert_array_equal(first[i], again.get_data_info(i)['img'])


def test_a_fresh_process_draws_the_same_images(new_python, tmp_path):
    code = (
        'import hashlib; from lfi.datasets import Shapes\n'
        "data = Shapes('val', num_images=8, domains=Shapes.DOMAINS)\n"
        "images = [data.get_data_info(i)['img'].tobytes() for i in reversed(range(8))]\n"
        "print(hashlib.sha256(b''.join(images)).hexdigest())"
    )
    done = new_python.run(['-c', code], tmp_path)
    data = Shapes('val', num_images=8, domains=Shapes.DOMAINS)
    images = [data.get_data_info(i)['img'].tobytes() for i in reversed(range(8))]
    assert done.stdout.split()[-1] == hashlib.sha256(b''.join(images)).hexdigest()


@pytest.mark.parametrize('domain', Shapes.DOMAINS)
def test_golden_statistics(domain):
    """The drawing has not changed; means leave room for another rounding in another OpenCV."""
    golden = {'photo': 95.426, 'painting': 97.092, 'cartoon': 110.439, 'sketch': 209.036}
    data = Shapes('train', num_images=20, domains=domain)
    mean = np.mean([data.get_data_info(i)['img'].mean() for i in range(20)])
    assert mean == pytest.approx(golden[domain], abs=0.05)


def test_splits_and_seeds_share_no_image():
    images = [
        image(split, i, seed=seed) for split in ('train', 'val', 'test') for i in (0, 1) for seed in (0, 1)
    ]
    assert len({array.tobytes() for array in images}) == len(images)


def test_cache_gives_what_drawing_gives():
    data = Shapes('train', num_images=4, domains=Shapes.DOMAINS)
    drawn, cached = data.get_data_info(3), data.get_data_info(3)
    assert drawn.keys() == cached.keys()
    for key, value in drawn.items():
        np.testing.assert_array_equal(value, cached[key])
    cached['img'][:] = 0
    np.testing.assert_array_equal(data.get_data_info(3)['img'], drawn['img'])


def test_classes_are_balanced_and_named():
    data = Shapes('train', num_images=60)
    assert data.metainfo['classes'] == tuple(Shapes.class_names())
    assert len(set(Shapes.class_names())) == 20
    assert np.bincount(data.get_gt_labels()).tolist() == [3] * 20
    assert data.get_cat_ids(23) == [3]


def test_subset_keeps_its_images():
    data = Shapes('train', num_images=30)
    subset = data.get_subset([7, 21])
    np.testing.assert_array_equal(subset.get_data_info(1)['img'], data.get_data_info(21)['img'])
    assert subset.get_gt_labels().tolist() == [7, 1]


def test_the_same_scene_in_every_domain():
    infos = [Shapes('train', num_images=5, domains=domain).get_data_info(4) for domain in Shapes.DOMAINS]
    for info in infos[1:]:
        np.testing.assert_array_equal(info['gt_masks'], infos[0]['gt_masks'])


def test_builds_from_a_config_and_trains_through_a_loader_with_workers():
    data = DATASETS.build(
        dict(
            type='lfi.Shapes',
            split='train',
            num_images=32,
            pipeline=[
                dict(type='RandomResizedCrop', scale=48),
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackInputs', meta_keys=('sample_idx', 'caption', 'domain')),
            ],
            _scope_='mmpretrain',
        )
    )
    loader = DataLoader(data, batch_size=8, num_workers=2, collate_fn=list, multiprocessing_context='fork')
    items = [item for batch in loader for item in batch]
    assert [item['data_samples'].sample_idx for item in items] == list(range(32))
    assert all(item['inputs'].shape == (3, 48, 48) for item in items)
    assert [int(item['data_samples'].gt_label) for item in items] == data.get_gt_labels().tolist()
    # What the workers drew is there in this process.
    assert data._cache.array['filled'].all()


def test_importing_the_data_sets_imports_no_model(new_python, tmp_path):
    models = {'mmdet', 'mmpretrain.models', 'open_clip'}
    code = f'import sys, lfi.datasets; print(sorted({models} & set(sys.modules)))'
    done = new_python.run(['-c', code], tmp_path)
    assert done.stdout.splitlines()[-1] == '[]'


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(split='trainval'), ["split='trainval'", "'train', 'val', 'test'"]),
        (dict(domains='oil'), ["domains=('oil',)", "'painting'"]),
        (dict(domains=()), ['domains=()', "'painting'"]),
        (dict(num_images=0), ['num_images=0', '1 or more']),
        (dict(img_size=16), ['img_size=16', '32 or more']),
        (dict(seed=-1), ['seed=-1', '0 to 2**32 - 1']),
        # Its words are 0 and 2, as those of another split.
        (dict(seed=2 * 2**32), ['seed=8589934592', '0 to 2**32 - 1']),
    ],
)
def test_bad_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError) as error:
        Shapes(**{'split': 'train', 'num_images': 4, **kwargs})
    assert all(word in str(error.value) for word in words)
