"""Masks pasted by matrix products, against mmdet's own pasting."""

import torch
from lfi.export import paste_masks
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask


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
