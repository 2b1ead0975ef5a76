"""`bbox_overlaps` against counted unit squares, and against mmcv's own reference."""

import numpy as np
import pytest
import torch
from mmcv.ops import bbox_overlaps
from mmcv.ops.bbox import _bbox_overlaps_cpu


def boxes(count, seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (count, 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    return torch.from_numpy(corners)


def covered(box, offset):
    """The unit squares of a box with whole corners, as a set."""
    x1, y1, x2, y2 = (int(v) for v in box)
    return {(x, y) for x in range(x1, x2 + offset) for y in range(y1, y2 + offset)}


def counted(box, other, mode, offset):
    box, other = covered(box, offset), covered(other, offset)
    base = box | other if mode == 'iou' else box
    return len(box & other) / len(base) if base else float('nan')


@pytest.mark.parametrize('mode', ['iou', 'iof'])
@pytest.mark.parametrize('offset', [0, 1])
def test_overlaps_are_those_of_counted_unit_squares(mode, offset):
    first, second = boxes(7, 0), boxes(5, 1)
    expected = [[counted(a, b, mode, offset) for b in second] for a in first]
    overlaps = bbox_overlaps(first, second, mode=mode, offset=offset)
    assert overlaps.any() and overlaps.shape == (7, 5)
    torch.testing.assert_close(overlaps, torch.tensor(expected), equal_nan=True)
    overlaps = bbox_overlaps(first[:5], second, mode=mode, aligned=True, offset=offset)
    torch.testing.assert_close(overlaps, torch.tensor(expected)[range(5), range(5)], equal_nan=True)


@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_overlaps_equal_those_of_mmcv_bit_for_bit(mode, aligned):
    first, second = (torch.rand(50, 4).cumsum(1) * 30 for _ in range(2))
    for offset in (0, 1):
        options = dict(mode=mode, aligned=aligned, offset=offset)
        assert bbox_overlaps(first, second, **options).equal(_bbox_overlaps_cpu(first, second, **options))


def test_boxes_without_area_give_nan_among_themselves_only():
    empty, box = torch.tensor([[3.0, 3, 3, 3]]), torch.tensor([[0.0, 0, 4, 4]])
    assert bbox_overlaps(empty, empty).isnan().all()
    assert bbox_overlaps(empty, box).item() == 0


def test_half_precision_is_computed_in_float32_and_given_back_as_it_came():
    first, second = boxes(4, 2), boxes(4, 3)
    overlaps = bbox_overlaps(first.half(), second.half())
    assert overlaps.dtype == torch.float16
    torch.testing.assert_close(overlaps, bbox_overlaps(first, second).half(), equal_nan=True)


def test_no_boxes():
    assert bbox_overlaps(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)
