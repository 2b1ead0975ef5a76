"""Operators of exported graphs, against loops and torchvision."""

import pytest
import torch
from lfi.export import paste_masks
from lfi.export.graph_ops import IGNORED, nms_mask
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask


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


def test_it_is_mmdets_pasting():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 14, 10, generator=generator)
    corners = torch.rand(6, 2, generator=generator) * 20
    boxes = torch.cat((corners, corners + torch.rand(6, 2, generator=generator) * 30), 1)
    boxes[0] = torch.tensor([-5.0, -3, 60, 50])
    boxes[1] = torch.tensor([3.0, 4, 3.5, 4.2])
    expected, _ = _do_paste_mask(masks[:, None], boxes, 40, 48, skip_empty=False)
    torch.testing.assert_close(paste_masks(masks, boxes, (40, 48)), expected, atol=1e-5, rtol=0)


def test_a_batch_is_its_images():
    generator = torch.Generator().manual_seed(0)
    masks, boxes = torch.rand(2, 3, 7, 7, generator=generator), torch.tensor([2.0, 3, 9, 8]).expand(2, 3, 4)
    pasted = paste_masks(masks, boxes, (12, 10))
    assert pasted.shape == (2, 3, 12, 10)
    for image in range(2):
        assert torch.equal(pasted[image], paste_masks(masks[image], boxes[image], (12, 10)))
    assert not pasted[..., :2, :].any() and not pasted[..., 10:].any()
