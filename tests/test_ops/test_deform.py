"""`deform_conv2d` and `modulated_deform_conv2d` against explicit sampling, tap by tap, in float64."""

import sys

import pytest
import torch
from lfi.ops import ext
from mmcv.ops import ModulatedDeformConv2dPack, deform_conv2d, modulated_deform_conv2d

# kernel, stride, padding, dilation, groups, deformable groups
GEOMETRIES = [
    ((3, 3), (1, 1), (1, 1), (1, 1), 1, 1),
    ((3, 2), (2, 1), (0, 2), (1, 2), 2, 1),
    ((2, 3), (1, 2), (2, 1), (2, 1), 1, 4),
    ((1, 3), (1, 1), (1, 1), (1, 1), 4, 2),
]
BATCH, CHANNELS, OUT_CHANNELS, HEIGHT, WIDTH = 2, 4, 8, 5, 6


def sample(image, y, x):
    """Bilinear values at y, x, shape [N, oH, oW], of images, shape [N, C, H, W]; [N, C, oH, oW].

    Pixels outside of the image are 0, and so is a sample a whole pixel outside, with its derivatives.
    """
    height, width = image.shape[2:]
    top, left = y.floor(), x.floor()
    total = 0
    for row, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            pixels = image.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, image.size(1), -1))
            pixels = pixels.view(*image.shape[:2], *y.shape[1:])
            total = total + (weight_y * weight_x * inside)[:, None] * pixels
    near = (y > -1) & (y < height) & (x > -1) & (x < width)
    return torch.where(near[:, None], total, 0)


def explicit_deform_conv(input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups):
    """Shape [N, O, oH, oW]."""
    kernel_h, kernel_w = weight.shape[2:]
    out_h, out_w = offset.shape[2:]
    offset = offset.view(len(input), deform_groups, kernel_h, kernel_w, 2, out_h, out_w)
    mask = mask.view(len(input), deform_groups, kernel_h, kernel_w, out_h, out_w)
    weights = weight.chunk(groups)
    output = 0
    for i in range(kernel_h):
        for j in range(kernel_w):
            y = (torch.arange(out_h) * stride[0] - padding[0] + i * dilation[0])[:, None]
            x = (torch.arange(out_w) * stride[1] - padding[1] + j * dilation[1])[None, :]
            taps = [
                mask[:, g, i, j][:, None] * sample(part, y + offset[:, g, i, j, 0], x + offset[:, g, i, j, 1])
                for g, part in enumerate(input.chunk(deform_groups, dim=1))
            ]
            parts = torch.cat(taps, dim=1).chunk(groups, dim=1)
            output = output + torch.cat(
                [torch.einsum('nchw,oc->nohw', part, w[:, :, i, j]) for part, w in zip(parts, weights)], dim=1
            )
    return output if bias is None else output + bias.view(1, -1, 1, 1)


def operands(geometry, spread):
    """Leaves that require gradients: input, offset, mask, weight, bias."""
    (kernel_h, kernel_w), stride, padding, dilation, groups, deform_groups = geometry
    out_h = (HEIGHT + 2 * padding[0] - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (WIDTH + 2 * padding[1] - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    taps = deform_groups * kernel_h * kernel_w
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape, scale=1.0):
        values = torch.randn(*shape, dtype=torch.float64, generator=generator) * scale
        return values.requires_grad_()

    return (
        leaf(BATCH, CHANNELS, HEIGHT, WIDTH),
        leaf(BATCH, 2 * taps, out_h, out_w, scale=spread),
        leaf(BATCH, taps, out_h, out_w),
        leaf(OUT_CHANNELS, CHANNELS // groups, kernel_h, kernel_w),
        leaf(OUT_CHANNELS),
    )


def assert_same_with_gradients(actual, expected, leaves):
    torch.testing.assert_close(actual, expected)
    weights = torch.randn(actual.shape, dtype=actual.dtype, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((actual * weights).sum(), leaves)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), leaves)
    for gradient, expected_gradient in zip(gradients, expected_gradients):
        torch.testing.assert_close(gradient, expected_gradient)


# With no spread every sample is on a pixel or on a padded one, as at the start of training.
@pytest.mark.parametrize('spread', [0.0, 1.5])
@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_deform_conv2d(geometry, spread):
    input, offset, mask, weight, _ = operands(geometry, spread)
    actual = deform_conv2d(input, offset, weight, *geometry[1:])
    expected = explicit_deform_conv(input, offset, torch.ones_like(mask), weight, None, *geometry[1:])
    assert_same_with_gradients(actual, expected, (input, offset, weight))


@pytest.mark.parametrize('with_bias', [True, False])
@pytest.mark.parametrize('spread', [0.0, 1.5])
@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_modulated_deform_conv2d(geometry, spread, with_bias):
    input, offset, mask, weight, bias = operands(geometry, spread)
    bias = bias if with_bias else None
    actual = modulated_deform_conv2d(input, offset, mask, weight, bias, *geometry[1:])
    expected = explicit_deform_conv(input, offset, mask, weight, bias, *geometry[1:])
    leaves = (input, offset, mask, weight, bias)
    assert_same_with_gradients(actual, expected, leaves if with_bias else leaves[:-1])


def test_deform_conv2d_does_not_depend_on_im2col_step():
    geometry = GEOMETRIES[0]
    input, offset, _, weight, _ = operands(geometry, 1.5)
    whole = deform_conv2d(input, offset, weight, *geometry[1:], False, 32)
    one_by_one = deform_conv2d(input, offset, weight, *geometry[1:], False, 1)
    assert_same_with_gradients(one_by_one, whole, (input, offset, weight))


@pytest.mark.skipif(sys.modules['mmcv._ext'] is not ext, reason='this mmcv has compiled ops of its own')
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_training_under_autocast(dtype):
    torch.manual_seed(0)
    layer = ModulatedDeformConv2dPack(4, 8, 3, padding=1)
    input = torch.randn(2, 4, 6, 6)
    expected = layer(input)
    with torch.autocast('cpu', dtype=dtype):
        output = layer(input)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0.02, atol=0.02)
    output.float().sum().backward()
    assert layer.conv_offset.weight.grad.abs().sum() > 0
