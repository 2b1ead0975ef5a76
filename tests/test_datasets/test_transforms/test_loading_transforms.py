"""`LoadInteractionMaps`: what a cache holds, read where the images are read."""

import pickle

import numpy as np
import pytest
import torch
from lfi.datasets import LoadInteractionMaps, Shapes
from lfi.datasets.transforms.loading import LoadHeatMap, LoadRegions
from lfi.errors import UsageError
from lfi.registry import TRANSFORMS
from lfi.structures import pack
from lfi.structures.interaction_cache import (
    CacheError,
    InteractionCache,
)
from mmcv.transforms import Compose
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import init_default_scope
from PIL import Image
from written_cache import write_cache

PATHS = ['/data/a/0.jpg', '/data/a/1.jpg']


@pytest.fixture
def folder(make_maps, tmp_path):
    return write_cache(tmp_path, {}, PATHS, np.eye(3, dtype=np.float32), make_maps())


def test_it_reads_the_record_of_the_image(folder, make_maps):
    stored = LoadInteractionMaps(folder)(dict(img_path='/elsewhere/a/1.jpg'))['interaction_maps']
    packed = pack(make_maps())[1:]
    for name in packed.dtype.names:
        np.testing.assert_array_equal(stored.record[name], packed[name])
    assert stored.cache_digest == InteractionCache(folder).digest


def test_it_travels_to_a_worker_without_what_it_has_opened(folder):
    read = LoadInteractionMaps(folder)
    read(dict(img_path=PATHS[0]))
    content = pickle.dumps(read)
    assert len(content) < 1000
    again = pickle.loads(content)(dict(img_path=PATHS[0]))['interaction_maps']
    np.testing.assert_array_equal(again.record, read(dict(img_path=PATHS[0]))['interaction_maps'].record)


def test_without_a_cache_it_reads_nothing():
    assert LoadInteractionMaps()(dict(img_path='a.jpg')) == dict(img_path='a.jpg')


def test_what_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(CacheError, match='has no maps of /data/a/2.jpg'):
        LoadInteractionMaps(folder)(dict(img_path='/data/a/2.jpg'))
    with pytest.raises(CacheError, match='is not a cache of interaction maps'):
        LoadInteractionMaps(tmp_path / 'gone')(dict(img_path=PATHS[0]))


MOVES = [dict(type='RandomFlip', prob=1.0), dict(type='RandomCrop', crop_size=(8, 8))]
RECORD = dict(type='lfi.RecordView', transforms=MOVES)
FLIP, LOUD = dict(type='RandomFlip', prob=1.0), dict(type='PhotoMetricDistortion')


def read_after(folder, *steps):
    init_default_scope('mmdet')
    image = np.zeros((16, 12, 3), np.uint8)
    record = dict(img=image, img_shape=(16, 12), ori_shape=(16, 12), img_path=PATHS[1])
    return Compose([*steps, LoadInteractionMaps(folder)])(record)


@pytest.mark.parametrize(
    ('when', 'steps'),
    [
        ('before', [dict(type='mmcv.RandomFlip', prob=1.0), RECORD]),
        ('before', [dict(type='mmpretrain.RandomCrop', crop_size=10), RECORD]),
        ('after', [RECORD, dict(type='mmpretrain.RandomCrop', crop_size=4)]),
        ('after', [RECORD, FLIP]),
        ('after', [RECORD, dict(type='ShearX', prob=1.0)]),
        ('after', [RECORD, dict(type='Pad', size=(32, 32))]),
    ],
)
def test_what_moves_pixels_outside_record_view_is_refused(when, steps, folder):
    with pytest.raises(UsageError, match=f'a.1.jpg: a step {when} lfi.RecordView has changed'):
        read_after(folder, *steps)


@pytest.mark.parametrize(
    'steps', [[LOUD, RECORD, LOUD], [FLIP, RECORD], [RECORD, dict(type='RandomFlip', prob=0.0)], [FLIP]]
)
def test_what_is_recorded_or_moves_nothing_is_read(steps, folder):
    assert 'interaction_maps' in read_after(folder, *steps)


def test_a_step_outside_record_view_passes_without_a_cache():
    assert 'interaction_maps' not in read_after(None, RECORD, FLIP)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def boxed(height=20, width=40, **fields):
    """An image with a box in its upper left quarter."""
    boxes = np.array([[0, 0, width / 2, height / 2]], np.float32)
    return dict(
        img=np.zeros((height, width, 3), np.uint8),
        ori_shape=(height, width),
        gt_bboxes=boxes,
        gt_label=3,
        **fields,
    )


def test_an_image_as_it_is():
    info = Shapes('val', num_images=20).get_data_info(3)
    found = TRANSFORMS.build(dict(type='lfi.LoadRegions'))(dict(info))['regions']
    assert set(found) == set(info['gt_bboxes_labels'].tolist())
    for label, region in found.items():
        assert region.dtype == bool
        np.testing.assert_array_equal(region, info['gt_masks'][info['gt_bboxes_labels'] == label].any(0))


@pytest.mark.parametrize(
    ('transforms', 'size', 'rows', 'columns'),
    [
        ([dict(type='Resize', scale=(80, 60))], (60, 80), slice(0, 30), slice(0, 40)),
        ([dict(type='RandomFlip', prob=1.0)], (20, 40), slice(0, 10), slice(20, 40)),
        ([dict(type='CenterCrop', crop_size=(20, 16))], (16, 20), slice(0, 8), slice(0, 10)),
        (
            [dict(type='ResizeEdge', scale=40), dict(type='CenterCrop', crop_size=40)],
            (40, 40),
            slice(0, 20),
            slice(0, 20),
        ),
    ],
    ids=['resize', 'flip', 'crop', 'resize and crop'],
)
def test_regions_follow_the_image(transforms, size, rows, columns):
    results = LoadRegions(transforms)(boxed())
    assert results['img'].shape[:2] == size
    expected = np.zeros(size, bool)
    expected[rows, columns] = True
    np.testing.assert_array_equal(results['regions'][3], expected)


def test_mmdets_annotations_are_read_before_they_move():
    masks = np.zeros((2, 20, 40), np.uint8)
    masks[0, :10, :20] = masks[1, 10:, 20:] = 1
    results = dict(
        boxed(),
        gt_masks=BitmapMasks(masks, 20, 40),
        gt_bboxes_labels=np.array([3, 5]),
        gt_bboxes=np.zeros((2, 4)),
    )
    found = LoadRegions([dict(type='mmdet.Resize', scale=(20, 10), keep_ratio=True)])(results)['regions']
    assert sorted(found) == [3, 5]
    np.testing.assert_array_equal(found[5], masks[1, ::2, ::2].astype(bool))


def test_a_class_that_crowds_alone_show_in_the_view_is_named():
    boxes = np.array([[0, 0, 8, 20], [16, 0, 24, 20], [18, 0, 22, 20], [16, 0, 24, 20], [0, 0, 8, 20]])
    results = dict(
        boxed(),
        gt_bboxes=boxes,
        gt_bboxes_labels=np.array([1, 1, 2, 2, 4]),
        gt_ignore_flags=np.array([False, True, False, True, True]),
    )
    found = LoadRegions([dict(type='CenterCrop', crop_size=20)])(dict(results))
    # Of class 1 the crop leaves the crowd, of 2 both, of 4 nothing.
    assert list(found['regions']) == [2] and found['crowds'] == [1]
    assert LoadRegions()(results)['crowds'] == [4]


def test_heat_maps_of_any_size_come_along():
    heat = np.zeros((10, 10), np.float32)
    heat[:, 5:] = 0.5
    results = boxed(heat_maps={3: heat, 4: heat[:, ::-1].copy()})
    found = LoadRegions([dict(type='Resize', scale=(80, 40)), dict(type='CenterCrop', crop_size=(20, 40))])(
        results
    )
    assert found['heat_maps'][3].shape == (40, 20)
    np.testing.assert_allclose(found['heat_maps'][3][:, 15:], 0.5, atol=1e-6)
    np.testing.assert_allclose(found['heat_maps'][4], found['heat_maps'][3][:, ::-1], atol=1e-6)


def test_heat_maps_alone_will_do():
    results = boxed(heat_maps={3: np.ones((2, 2), np.float32)})
    del results['gt_bboxes']
    found = LoadRegions()(results)
    assert found['regions'] == {} and list(found['heat_maps']) == [3]
    with pytest.raises(ValueError, match='no gt_masks and no gt_bboxes'):
        LoadRegions()({key: value for key, value in results.items() if key != 'heat_maps'})


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(
        ValueError, match=r'changed since it was loaded with \(40, 80\).*transforms=\[\.\.\.\]'
    ):
        LoadRegions()(dict(boxed(), ori_shape=(40, 80)))
    with pytest.raises(ValueError, match='changed since it was loaded'):
        LoadRegions()(boxed(flip=True))
    with pytest.raises(ValueError, match='RecordView cannot follow Mosaic'):
        LoadRegions([dict(type='mmdet.Mosaic')])


def test_samples_hold_no_tensors_of_it():
    results = LoadRegions()(boxed(heat_maps={3: np.ones((2, 2), np.float32)}))
    for name in ('regions', 'heat_maps'):
        assert not any(isinstance(value, torch.Tensor) for value in results[name].values())


def test_it_finds_the_picture_by_the_images_name(tmp_path):
    heat = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(heat).save(tmp_path / 'cat_1.png')
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / 'cat_2.png')
    load = LoadHeatMap(tmp_path)
    (label, found), *others = load(dict(img_path='photos/cat_1.jpg', gt_label=2))['heat_maps'].items()
    assert (label, others) == (2, [])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, heat / 255, rtol=1e-6)
    # A black picture says nothing, and a missing one likewise.
    assert load(dict(img_path='photos/cat_2.jpg', gt_label=2))['heat_maps'] == {}
    assert load(dict(img_path='photos/cat_3.jpg', gt_label=2))['heat_maps'] == {}


def test_counts_of_16_bits_are_kept_and_hidden_labels_have_no_map(tmp_path):
    counts = np.arange(12, dtype=np.uint16).reshape(3, 4) * 80
    Image.fromarray(counts).save(tmp_path / 'cat_1.png')
    load = LoadHeatMap(tmp_path)
    found = load(dict(img_path='cat_1.jpg', gt_label=2))['heat_maps'][2]
    np.testing.assert_allclose(found, counts / 65535, rtol=1e-6)
    assert load(dict(img_path='cat_1.jpg', gt_label=-1))['heat_maps'] == {}


def test_images_of_one_name_have_heat_maps_of_their_own(tmp_path):
    for folder, value in (('.', 50), ('dog', 100), ('photo/dog', 200)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), value, np.uint8)).save(tmp_path / folder / '1.png')
    load = LoadHeatMap(tmp_path)
    for path, value in (
        ('/data/photo/dog/1.jpg', 200),
        ('/data/sketch/dog/1.jpg', 100),
        ('/data/sketch/cat/1.jpg', 50),
        ('1.jpg', 50),
    ):
        heat = load(dict(img_path=path, gt_label=0))['heat_maps'][0]
        np.testing.assert_allclose(heat, value / 255, rtol=1e-6)


def test_the_folder_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='data_root=.*none.* is not a folder of heat maps'):
        LoadHeatMap(tmp_path / 'none')


def test_an_image_beside_the_folder_is_no_heat_map_of_itself(tmp_path):
    for folder in ('heat', 'images'):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.full((2, 2), 90, np.uint8)).save(tmp_path / 'images/x.png')
    assert LoadHeatMap(tmp_path / 'heat')(dict(img_path='../images/x.png', gt_label=0))['heat_maps'] == {}


@pytest.mark.parametrize('content', [b'', b'no picture'])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(OSError, match=r'x\.png: this heat map cannot be read'):
        LoadHeatMap(tmp_path)(dict(img_path='x.jpg', gt_label=0))
