import numpy as np
import pytest
import torch
from lfi.datasets import Shapes, regions_of
from lfi.errors import UsageError
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_the_masks_of_a_class_are_joined_and_crowds_left_out():
    masks = np.zeros((4, 4, 6), bool)
    masks[0, 0, :2] = masks[1, 3, 3] = masks[2, 1] = masks[3, 2, 2] = True
    results = dict(
        img=IMAGE,
        gt_masks=BitmapMasks(masks.astype(np.uint8), 4, 6),
        gt_bboxes_labels=np.array([5, 5, 2, 7]),
        gt_ignore_flags=np.array([0, 0, 0, 1]),
    )
    regions = regions_of(results)
    assert sorted(regions) == [2, 5]
    assert np.array_equal(regions[5], masks[0] | masks[1])
    assert np.array_equal(regions[2], masks[2])


@pytest.mark.parametrize('wrap', [np.array, lambda boxes: HorizontalBoxes(torch.tensor(boxes))])
def test_boxes_are_filled(wrap):
    results = dict(img=IMAGE, gt_bboxes=wrap([[1.0, 0.0, 3.0, 2.0]]), gt_label=3)
    (label, region), *others = regions_of(results).items()
    assert (label, others) == (3, [])
    expected = np.zeros((4, 6), bool)
    expected[:2, 1:3] = True
    assert np.array_equal(region, expected)


@pytest.mark.parametrize(
    ('box', 'rows', 'columns'),
    [
        ([2.5, 1.5, 3.5, 2.5], [1], [2]),
        # No pixel's middle lies in it: it is where it lies.
        ([2.6, 0.0, 3.4, 4.0], [0, 1, 2, 3], [3]),
        ([-2.0, -2.0, 1.0, 1.0], [0], [0]),
    ],
)
def test_boxes_need_not_be_whole_pixels(box, rows, columns):
    region = regions_of(dict(img=IMAGE, gt_bboxes=np.array([box]), gt_label=0))[0]
    expected = np.zeros((4, 6), bool)
    expected[np.ix_(rows, columns)] = True
    assert np.array_equal(region, expected)


def test_masks_of_another_size_are_refused():
    turned = np.zeros((1, 6, 4), bool)
    with pytest.raises(UsageError, match=r'shape \(1, 6, 4\), but the image has 4 x 6 pixels'):
        regions_of(dict(img=IMAGE, gt_masks=turned, gt_label=0))
    assert regions_of(dict(img=IMAGE, gt_masks=np.zeros((0,)), gt_bboxes_labels=np.zeros(0, int))) == {}


def test_nothing_annotated_is_nothing_to_point_at():
    empty = dict(img=IMAGE, gt_bboxes=np.zeros((0, 4)), gt_bboxes_labels=np.zeros(0, int))
    assert regions_of(empty) == {}
    # A box without area covers no pixel.
    assert regions_of(dict(img=IMAGE, gt_bboxes=np.array([[2.0, 2.0, 2.0, 2.0]]), gt_label=0)) == {}
    with pytest.raises(ValueError, match='no gt_masks and no gt_bboxes'):
        regions_of(dict(img=IMAGE, gt_label=0))


def test_regions_of_shapes_are_its_masks():
    info = Shapes('val', num_images=20).get_data_info(3)
    regions = regions_of(info)
    assert sorted(regions) == sorted(set(info['gt_bboxes_labels'].tolist()))
    assert sum(int(region.sum()) for region in regions.values()) == int(info['gt_masks'].sum())
