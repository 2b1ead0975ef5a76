"""The op for NMS of a batch, against a loop."""

import pytest
import torch
from lfi.export.nms import IGNORED, nms_mask


def iou(one, other):
    left, top = (max(one[axis], other[axis]) for axis in (0, 1))
    right, bottom = (min(one[axis], other[axis]) for axis in (2, 3))
    inner = max(right - left, 0) * max(bottom - top, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return inner / (sum(areas) - inner)


def kept_by_a_loop(boxes, scores, iou_threshold, count):
    kept = []
    for index in sorted(range(len(scores)), key=lambda i: -scores[i]):
        alone = all(iou(boxes[index], boxes[other]) <= iou_threshold for other in kept)
        if scores[index] >= 0 and alone and len(kept) < count:
            kept.append(index)
    return kept


@pytest.mark.parametrize('count', [4, 100])
def test_each_image_is_treated_by_itself(count):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(3, 30, 2, generator=generator) * 20
    boxes = torch.cat((corners, corners + 4 + torch.rand(3, 30, 2, generator=generator) * 10), -1)
    scores = torch.rand(3, 30, generator=generator)
    scores[:, ::5] = IGNORED
    # A score of 0 is a candidate.
    scores[0, 1] = 0
    found = nms_mask(boxes, scores, 0.3, count)
    for mask, its, values in zip(found, boxes.tolist(), scores.tolist()):
        assert sorted(kept_by_a_loop(its, values, 0.3, count)) == mask.nonzero().flatten().tolist()
    assert found.any(1).all()


def test_nothing_is_kept_of_nothing():
    boxes, scores = torch.zeros(2, 3, 4), torch.full((2, 3), IGNORED)
    assert not nms_mask(boxes, scores, 0.5, 3).any()
