"""RoI align and RoI pooling with the semantics of mmcv's `roi_align_*` and `roi_pool_*`."""

import torch
from torch import Tensor

from .backend import missing_op_error, torchvision_ops, widen


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the averages of bilinear samples over the bins of each RoI to `output`.

    Args:
        input (Tensor): shape [N, C, H, W].
        rois (Tensor): (index into N, x1, y1, x2, y2), shape [R, 5].
        output (Tensor): output, shape [R, C, aligned_height, aligned_width].
        argmax_y (Tensor): unused; mmcv fills it in max mode.
        argmax_x (Tensor): unused; mmcv fills it in max mode.
        aligned_height (int): bins along y.
        aligned_width (int): bins along x.
        spatial_scale (float): factor from RoI coordinates to those of `input`.
        sampling_ratio (int): samples of a bin along each axis. 0 takes one sample a pixel.
        pool_mode (int): 1 for the average.
        aligned (bool): whether coordinates are shifted by half a pixel.

    Raises:
        NotImplementedError: if `pool_mode` is 0, the maximum.
    """
    _check_pool_mode(pool_mode)
    output.copy_(
        torchvision_ops().roi_align(
            widen(input), widen(rois), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of `roi_align_forward` to `grad_input`, shape [N, C, H, W].

    `grad_output` has shape [R, C, aligned_height, aligned_width]. See the forward op for the other arguments.

    Raises:
        NotImplementedError: if `pool_mode` is 0, the maximum.
    """
    _check_pool_mode(pool_mode)
    grad_input += torchvision_ops()._roi_align_backward(
        widen(grad_output),
        widen(rois),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the maximum of the pixels of each bin of each RoI to `output`, 0 for an empty bin.

    Args:
        input (Tensor): shape [N, C, H, W].
        rois (Tensor): (index into N, x1, y1, x2, y2), shape [R, 5].
        output (Tensor): output, shape [R, C, pooled_height, pooled_width].
        argmax (Tensor): output, same shape, int32; pixel `y * W + x` of each maximum, -1 for an empty bin.
        pooled_height (int): bins along y.
        pooled_width (int): bins along x.
        spatial_scale (float): factor from RoI coordinates to those of `input`.
    """
    bins = _roi_pool_bins(widen(rois), pooled_height, pooled_width, spatial_scale)
    # torchvision rounds a RoI to whole pixels and then divides it into bins; mmcv divides first. If each bin
    # is a RoI in whole pixels, both ops return the same result.
    maxima, indices = torchvision_ops().roi_pool(widen(input), bins.flatten(0, 2), 1.0, 1, 1)
    # [R * PH * PW, C, 1, 1] -> [R, C, PH, PW]
    shape = (len(rois), pooled_height, pooled_width, input.size(1))
    output.copy_(maxima.view(shape).permute(0, 3, 1, 2))
    argmax.copy_(indices.view(shape).permute(0, 3, 1, 2))


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of `roi_pool_forward` to `grad_input`, shape [N, C, H, W].

    `grad_output` has shape [R, C, pooled_height, pooled_width]; `argmax` is the output of the forward op.
    """
    grad_input += torchvision_ops()._roi_pool_backward(
        widen(grad_output),
        widen(rois),
        argmax,
        spatial_scale,
        pooled_height,
        pooled_width,
        *grad_input.shape,
    )


def _check_pool_mode(pool_mode: int) -> None:
    if pool_mode != 1:
        raise missing_op_error("roi_align with pool_mode='max'")


def _roi_pool_bins(rois: Tensor, pooled_height: int, pooled_width: int, spatial_scale: float) -> Tensor:
    """Return the first and last pixel of each bin, not clipped to the image.

    Returns:
        Tensor: (index into N, x1, y1, x2, y2) in whole pixels, shape [R, pooled_height, pooled_width, 5].
            An empty bin lies outside the image.
    """
    starts = rois[:, 1:3] * spatial_scale
    sizes = (rois[:, 3:5] + 1) * spatial_scale - starts
    x1, x2 = _edges(starts[:, 0], sizes[:, 0], pooled_width)
    y1, y2 = _edges(starts[:, 1], sizes[:, 1], pooled_height)
    columns = (rois[:, :1, None], x1[:, None, :], y1[:, :, None], x2[:, None, :] - 1, y2[:, :, None] - 1)
    bins = torch.stack(torch.broadcast_tensors(*columns), dim=-1)
    malformed = (sizes <= 0).any(dim=1)[:, None, None]
    empty = malformed | (bins[..., 3:] < bins[..., 1:3]).any(dim=-1)
    bins[..., 1:] = bins[..., 1:].masked_fill(empty[..., None], -2)
    return bins


def _edges(start: Tensor, size: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return start and exclusive end of `count` bins along an axis of RoIs, [R] -> [R, count] each."""
    steps = torch.arange(count + 1, dtype=size.dtype, device=size.device)
    edges = steps * (size / count)[:, None] + start[:, None]
    return edges[:, :-1].floor(), edges[:, 1:].ceil()
