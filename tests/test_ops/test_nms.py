"""`nms`, `soft_nms` and `batched_nms` against loops that follow mmcv's C++ line by line, in float32."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import batched_nms, bbox_overlaps, nms, soft_nms
from mmcv.ops.bbox import _bbox_overlaps_cpu

F32 = np.float32
QUICK = settings(max_examples=25, derandomize=True)


def iou(a, b, offset):
    """IoU of two boxes (x1, y1, x2, y2) of float32 numbers."""
    area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset)
    area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset)
    width = max(F32(0), min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(F32(0), min(a[3], b[3]) - max(a[1], b[1]) + offset)
    with np.errstate(invalid='ignore'):
        return width * height / (area_a + area_b - width * height)


def loop_nms(boxes, scores, iou_threshold, offset):
    """Indices of the kept boxes by descending score."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not any(iou(boxes[j], boxes[i], F32(offset)) > F32(iou_threshold) for j in kept):
            kept.append(i)
    return kept


def loop_soft_nms(boxes, scores, iou_threshold, sigma, min_score, method, offset):
    """Indices and scores of the kept boxes, in the order in which they are chosen."""
    scores, order, count = list(scores), list(range(len(boxes))), len(boxes)

    def swap(a, b):
        scores[a], scores[b] = scores[b], scores[a]
        order[a], order[b] = order[b], order[a]

    i = 0
    while i < count:
        best = i
        for pos in range(i + 1, count):
            if scores[best] < scores[pos]:
                best = pos
        swap(i, best)
        pos = i + 1
        while pos < count:
            overlap = iou(boxes[order[i]], boxes[order[pos]], F32(offset))
            weight = F32(1)
            if method == 'gaussian':
                weight = F32(math.exp(-(overlap * overlap) / F32(sigma)))
            elif overlap >= F32(iou_threshold):
                weight = F32(0) if method == 'naive' else F32(1) - overlap
            scores[pos] *= weight
            if scores[pos] < F32(min_score):
                count -= 1
                scores[pos], order[pos] = scores[count], order[count]
            else:
                pos += 1
        i += 1
    return order[:count], scores[:count]


def as_tensors(boxes, scores):
    return torch.from_numpy(boxes), torch.from_numpy(scores)


@st.composite
def scored_boxes(draw, ties=False):
    """Up to 20 boxes on a grid of quarters, where float32 is exact, some of them without any area."""
    count = draw(st.integers(1, 20))
    quarters = st.integers(0, 60)
    rows = draw(st.lists(st.tuples(*[quarters] * 4), min_size=count, max_size=count))
    boxes = np.array(rows, dtype=F32) / 4
    boxes[:, 2:] += boxes[:, :2]
    if ties:
        ranks = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
        return boxes, np.array(ranks, dtype=F32) / 4
    return boxes, np.array(draw(st.permutations(range(1, count + 1))), dtype=F32) / (count + 1)


@pytest.mark.parametrize('offset', [0, 1])
@QUICK
@given(data=scored_boxes(), iou_threshold=st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_nms(offset, data, iou_threshold):
    boxes, scores = data
    kept = loop_nms(boxes, scores, iou_threshold, offset)
    dets, indices = nms(*as_tensors(boxes, scores), iou_threshold, offset)
    assert indices.tolist() == kept
    assert dets.tolist() == np.column_stack([boxes, scores])[kept].tolist()


def test_nms_offset_on_fractional_boxes():
    """Off the grid, where x2 + 1 rounds, the decisions are still those of the formula."""
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 60, (200, 4)).astype(F32)
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.permutation(200).astype(F32) / 200
    for offset in (0, 1):
        _, indices = nms(*as_tensors(boxes, scores), 0.4, offset)
        assert indices.tolist() == loop_nms(boxes, scores, 0.4, offset)


@pytest.mark.parametrize('tenths', [3, 7])
def test_nms_keeps_a_box_whose_iou_is_the_threshold(tenths):
    """The comparison is one of float32 numbers: 0.3 is not above 0.3."""
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, tenths, 1]])
    _, indices = nms(boxes, torch.tensor([0.9, 0.8]), tenths / 10)
    assert indices.tolist() == [0, 1]


def test_nms_options():
    """Score threshold, maximum number, arrays, and no boxes at all."""
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 3], [9, 9, 12, 12], [20, 20, 22, 22]], dtype=F32)
    scores = np.array([0.5, 0.9, 0.1, 0.7], dtype=F32)
    dets, indices = nms(boxes, scores, 0.5, score_threshold=0.3)
    assert isinstance(dets, np.ndarray)
    assert indices.tolist() == [1, 3]
    assert nms(boxes, scores, 0.5, max_num=2)[1].tolist() == [1, 3]
    dets, indices = nms(torch.zeros(0, 4), torch.zeros(0), 0.5, offset=1)
    assert dets.shape == (0, 5)
    assert indices.shape == (0,) and indices.dtype == torch.long


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
@QUICK
@given(data=scored_boxes(), iou_threshold=st.sampled_from([0.2, 0.5]), min_score=st.sampled_from([1e-3, 0.3]))
def test_soft_nms(method, offset, data, iou_threshold, min_score):
    boxes, scores = data
    options = (iou_threshold, 0.5, min_score, method, offset)
    kept, decayed = loop_soft_nms(boxes, scores, *options)
    dets, indices = soft_nms(*as_tensors(boxes, scores), *options)
    assert indices.tolist() == kept
    assert dets[:, :4].tolist() == boxes[kept].tolist()
    np.testing.assert_allclose(dets[:, 4], decayed, rtol=1e-5)


@QUICK
@given(data=scored_boxes(ties=True), method=st.sampled_from(['naive', 'linear']))
def test_soft_nms_order_of_equal_scores(data, method):
    """Equal scores come out in the order in which mmcv's compaction leaves them."""
    boxes, scores = data
    options = (0.3, 0.5, 0.2, method, 0)
    _, indices = soft_nms(*as_tensors(boxes, scores), *options)
    assert indices.tolist() == loop_soft_nms(boxes, scores, *options)[0]


def test_soft_nms_of_boxes_without_area():
    """The IoU of two of them is NaN, and gaussian decay keeps it; the others are still sorted out."""
    boxes = np.array(
        [[0, 0, 4, 4], [5, 5, 5, 5], [6, 6, 6, 6], [1, 0, 5, 4], [7, 7, 7, 7], [9, 0, 12, 4]], F32
    )
    scores = np.array([0.7, 0.9, 0.2, 0.8, 0.3, 0.5], F32)
    options = (0.3, 0.5, 1e-3, 'gaussian', 0)
    kept, decayed = loop_soft_nms(boxes, scores, *options)
    dets, indices = soft_nms(*as_tensors(boxes, scores), *options)
    assert np.isnan(decayed).any()
    assert indices.tolist() == kept
    np.testing.assert_allclose(dets[:, 4], decayed, rtol=1e-5)


def test_soft_nms_without_boxes():
    dets, indices = soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5)
    assert indices.shape == (0,) and indices.dtype == torch.long


@QUICK
@given(data=scored_boxes(), seed=st.integers(0, 9), split_thr=st.sampled_from([1, 10000]))
def test_batched_nms(data, seed, split_thr):
    """Boxes of different classes do not suppress each other, in one call or in one call a class."""
    boxes, scores = data
    classes = np.random.default_rng(seed).integers(0, 3, len(boxes))
    kept = []
    for label in range(3):
        members = np.flatnonzero(classes == label)
        kept += members[loop_nms(boxes[members], scores[members], 0.5, 0)].tolist()
    kept.sort(key=lambda i: -scores[i])
    cfg = {'type': 'nms', 'iou_threshold': 0.5, 'split_thr': split_thr}
    dets, indices = batched_nms(*as_tensors(boxes, scores), torch.from_numpy(classes), cfg)
    assert indices.tolist() == kept
    assert dets.tolist() == np.column_stack([boxes, scores])[kept].tolist()


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
