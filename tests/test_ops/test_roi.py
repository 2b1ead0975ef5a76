"""`roi_align` and `RoIPool` against loops over bins and samples, and against the gradients of those."""

import math
import sys

import pytest
import torch
from lfi.ops import ext
from mmcv.ops import RoIPool, roi_align

stand_in_only = pytest.mark.skipif(
    sys.modules['mmcv._ext'] is not ext, reason='this mmcv has compiled ops of its own'
)

# (index, x1, y1, x2, y2) for 2 images of 6 x 7 at half the scale: inside, across each border, and tiny.
ROIS = torch.tensor(
    [
        [0, 1.3, 0.7, 9.1, 8.2],
        [1, 2.2, 3.1, 11.4, 6.3],
        [0, -7.7, -5.2, 4.9, 6.6],
        [1, 6.1, 5.3, 21.7, 19.8],
        [0, 5.15, 4.35, 5.45, 4.85],
    ],
    dtype=torch.float64,
)


def features(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()


def bilinear(image, y, x):
    """The value at a point, shape [C], of an image, shape [C, H, W]; 0 more than one pixel outside."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return image.new_zeros(len(image))
    y, x = (min(max(p, 0.0), size - 1.0) for p, size in ((y, height), (x, width)))
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * image[:, top, left] + dx * image[:, top, right]
    lower = (1 - dx) * image[:, bottom, left] + dx * image[:, bottom, right]
    return (1 - dy) * upper + dy * lower


def loop_roi_align(input, rois, out_h, out_w, scale, sampling_ratio, aligned):
    """Shape [R, C, out_h, out_w]."""
    outputs = []
    for index, *corners in rois.tolist():
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0.0) for c in corners)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = max(height, 1.0), max(width, 1.0)
        rows = sampling_ratio or math.ceil(height / out_h)
        columns = sampling_ratio or math.ceil(width / out_w)
        for bin_y in range(out_h):
            for bin_x in range(out_w):
                samples = [
                    bilinear(
                        input[int(index)],
                        y1 + (bin_y + (row + 0.5) / rows) * height / out_h,
                        x1 + (bin_x + (column + 0.5) / columns) * width / out_w,
                    )
                    for row in range(rows)
                    for column in range(columns)
                ]
                outputs.append(torch.stack(samples).mean(dim=0))
    return torch.stack(outputs, dim=-1).view(-1, len(rois), out_h, out_w).transpose(0, 1)


def loop_roi_pool(input, rois, out_h, out_w, scale):
    """Shape [R, C, out_h, out_w]. A RoI reaches to the end of the pixel at (x2, y2)."""
    height, width = input.shape[2:]
    outputs = []
    for index, x1, y1, x2, y2 in rois.tolist():
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        for bin_y in range(out_h):
            for bin_x in range(out_w):
                top = max(math.floor(y1 + bin_y * (y2 - y1) / out_h), 0)
                left = max(math.floor(x1 + bin_x * (x2 - x1) / out_w), 0)
                bottom = min(math.ceil(y1 + (bin_y + 1) * (y2 - y1) / out_h), height)
                right = min(math.ceil(x1 + (bin_x + 1) * (x2 - x1) / out_w), width)
                if x2 <= x1 or y2 <= y1 or bottom <= top or right <= left:
                    outputs.append(input.new_zeros(input.size(1)))
                else:
                    outputs.append(input[int(index), :, top:bottom, left:right].flatten(1).max(dim=1).values)
    return torch.stack(outputs, dim=-1).view(-1, len(rois), out_h, out_w).transpose(0, 1)


def assert_same_with_gradients(actual, expected, input):
    torch.testing.assert_close(actual, expected)
    weights = torch.randn(actual.shape, dtype=actual.dtype, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((actual * weights).sum(), input)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), input)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 1, 2])
def test_roi_align(sampling_ratio, aligned):
    input = features()
    actual = roi_align(input, ROIS, (2, 3), 0.5, sampling_ratio, 'avg', aligned)
    expected = loop_roi_align(input, ROIS, 2, 3, 0.5, sampling_ratio, aligned)
    assert_same_with_gradients(actual, expected, input)


def test_roi_align_without_rois():
    input = features()
    output = roi_align(input, ROIS[:0], 7, 0.5)
    assert output.shape == (0, 3, 7, 7)
    output.sum().backward()
    assert input.grad.abs().sum() == 0


def test_roi_align_of_an_empty_roi_is_zero():
    input = features()
    output = roi_align(input, torch.tensor([[0, 4.0, 4, 4, 4]], dtype=input.dtype), 2, 1.0)
    output.sum().backward()
    assert output.abs().sum() == input.grad.abs().sum() == 0


@stand_in_only
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_in_half_precision(dtype):
    input, wide = features(dtype), features(torch.float32)
    output = roi_align(input, ROIS.to(dtype), 2, 0.5)
    expected = roi_align(wide, ROIS.to(dtype).float(), 2, 0.5)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0.02, atol=0.02)
    output.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(input.grad.float(), wide.grad, rtol=0.02, atol=0.02)


@stand_in_only
def test_roi_align_by_maximum_is_refused():
    with pytest.raises(NotImplementedError, match="roi_align with pool_mode='max'"):
        roi_align(features(), ROIS, 2, 0.5, 2, 'max')


# mmcv compiles RoI pooling for GPUs only.
@stand_in_only
@pytest.mark.parametrize('scale', [0.5, 0.43, 1.0])
def test_roi_pool(scale):
    input = features()
    malformed = torch.tensor([[0, 5.0, 5.0, 2.0, 8.0]], dtype=input.dtype)
    rois = torch.cat([ROIS, malformed])
    actual = RoIPool((3, 2), scale)(input, rois)
    assert actual[-1].abs().sum() == 0
    assert_same_with_gradients(actual, loop_roi_pool(input, rois, 3, 2, scale), input)


@stand_in_only
def test_roi_pool_without_rois():
    input = features()
    output = RoIPool(2, 0.5)(input, ROIS[:0])
    assert output.shape == (0, 3, 2, 2)
    output.sum().backward()
    assert input.grad.abs().sum() == 0
