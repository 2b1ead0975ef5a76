"""Deformable convolution with the semantics of mmcv's `deform_conv_*` and `modulated_deform_conv_*`.

Shapes, with G deformable groups:

- input [N, C, H, W], output [N, O, oH, oW];
- weight [O, C / groups, kH, kW], bias [O];
- offset [N, G * kH * kW * 2, oH, oW], (y, x) pairs innermost; mask [N, G * kH * kW, oH, oW].

`columns` and `ones`, mmcv's scratch buffers, and `im2col_step`, which bounds their size, are unused.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .backend import torchvision_ops, widen


class _Geometry(NamedTuple):
    """Integer arguments of torchvision's ops, in their order."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    deform_groups: int


class _Gradients(NamedTuple):
    """Gradients that torchvision's backward op returns, in its order."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the convolution of `input`, sampled at `offset`, to `output`."""
    geometry = _Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(_forward(input, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Add the gradient of the input to `gradInput` and write the gradient of the offset to `gradOffset`."""
    geometry = _Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    gradients = _backward(gradOutput, input, weight, offset, None, None, geometry)
    gradInput += gradients.input
    gradOffset.copy_(gradients.offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add `scale` times the gradient of the weight to `gradWeight`."""
    geometry = _Geometry(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    # The gradient of the weight does not depend on the weight.
    weight = torch.zeros_like(gradWeight)
    gradWeight += scale * _backward(gradOutput, input, weight, offset, None, None, geometry).weight


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the convolution of `input`, sampled at `offset` and weighted by `mask`, to `output`.

    `bias` is read if `with_bias` is true.
    """
    geometry = _Geometry(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    output.copy_(_forward(input, weight, offset, mask, bias if with_bias else None, geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Add the gradients of input, weight and, if `with_bias`, bias. Write those of offset and mask."""
    geometry = _Geometry(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    gradients = _backward(grad_output, input, weight, offset, mask, bias if with_bias else None, geometry)
    grad_input += gradients.input
    grad_weight += gradients.weight
    grad_offset.copy_(gradients.offset)
    grad_mask.copy_(gradients.mask)
    if with_bias:
        grad_bias += gradients.bias


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: _Geometry,
) -> Tensor:
    """Return the output, shape [N, O, oH, oW]."""
    tensors = _operands(input, weight, offset, mask, bias)
    return torchvision_ops().deform_conv2d(*tensors, *geometry, mask is not None)


def _backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: _Geometry,
) -> _Gradients:
    """Return the gradients of all operands."""
    tensors = _operands(input, weight, offset, mask, bias)
    gradients = _Gradients(
        *torchvision_ops()._deform_conv2d_backward(widen(grad_output), *tensors, *geometry, mask is not None)
    )
    # At exactly -1 the sampling has a kink: torchvision takes the slope inside the image, mmcv takes 0. With
    # the zero offsets at the start of training, padding puts whole rows and columns of samples there.
    outside = _sample_positions(widen(offset), weight.shape[2:], geometry) <= -1
    return gradients._replace(offset=gradients.offset.masked_fill(outside, 0))


def _operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Return the tensors in torchvision's order, with zeros for a missing mask or bias."""
    input = widen(input)
    mask = input.new_zeros(len(input), 1) if mask is None else widen(mask)
    bias = input.new_zeros(len(weight)) if bias is None else widen(bias)
    return input, widen(weight), widen(offset), mask, bias


def _sample_positions(offset: Tensor, kernel_size: Sequence[int], geometry: _Geometry) -> Tensor:
    """Return the sampled coordinates in the input, with the shape of `offset`."""
    (kernel_h, kernel_w), (out_h, out_w) = kernel_size, offset.shape[2:]

    def axis_positions(kernel: int, size: int, stride: int, padding: int, dilation: int) -> Tensor:
        taps, samples = (torch.arange(n, device=offset.device) for n in (kernel, size))
        return taps[:, None] * dilation + samples * stride - padding

    y = axis_positions(kernel_h, out_h, geometry.stride_h, geometry.pad_h, geometry.dilation_h)  # [kH, oH]
    x = axis_positions(kernel_w, out_w, geometry.stride_w, geometry.pad_w, geometry.dilation_w)  # [kW, oW]
    grid = torch.stack(torch.broadcast_tensors(y[:, None, :, None], x[None, :, None, :]), dim=2)
    # [kH, kW, 2, oH, oW] -> [G * kH * kW * 2, oH, oW]
    return offset + grid.flatten(0, 2).repeat(geometry.deform_groups, 1, 1)
