import numpy as np
import pytest
import torch
from lfi.datasets import Shapes
from lfi.datasets.transforms.loading import LoadRegions
from lfi.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import init_default_scope


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


def test_what_the_view_leaves_out_is_no_region():
    results = dict(
        boxed(), gt_bboxes=np.array([[0, 0, 8, 20], [16, 0, 24, 20]]), gt_bboxes_labels=np.array([1, 2])
    )
    assert list(LoadRegions([dict(type='CenterCrop', crop_size=20)])(results)['regions']) == [2]


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
