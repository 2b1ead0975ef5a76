"""Views: affine maps (B, 2, 3) from augmented images to the pictures that they were taken from.

Coordinates are those of `torch.nn.functional.affine_grid`: from -1 to 1 over a complete picture, x before y.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def tensor_like(values: Sequence, reference: Tensor) -> Tensor:
    """Build a tensor with a reference's dtype and device; `Tensor.new_tensor` would wait for a GPU."""
    return torch.tensor(values, dtype=reference.dtype).to(reference.device, non_blocking=True)


def image_windows(canvas: tuple[int, int], sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """Windows of images, each at the top left of a padded canvas.

    Args:
        canvas: height and width in pixels.
        sizes: height and width in pixels of each of the B images.
        device: device of the result.

    Returns:
        (B, 2, 2), start and end of each window, x before y, as fractions of the canvas.
    """
    windows = torch.tensor([[[0.0, w / canvas[1]], [0.0, h / canvas[0]]] for h, w in sizes])
    return windows.to(device, non_blocking=True)


def full_window(reference: Tensor) -> Tensor:
    """Window (1, 2, 2) of a picture that fills its canvas, with a reference's dtype and device."""
    return torch.stack((reference.new_zeros(1, 2), reference.new_ones(1, 2)), -1)


def max_coverage(grid: tuple[int, int], window: Tensor) -> Tensor:
    """Largest share of one location that each window (B, 2, 2) can fill, (B, 1, 1), at most 1.

    The grid (h, w) covers the canvas.
    """
    width, height = (window[..., 1] - window[..., 0]).unbind(-1)
    coverage = (width * grid[1]).clamp(1e-6, 1) * (height * grid[0]).clamp(1e-6, 1)
    return coverage[:, None, None]


def interpolation_weights(
    view: Tensor, cells: tuple[int, int], grid: tuple[int, int], window: Tensor
) -> tuple[Tensor, Tensor]:
    """Interpolation weights from the cells of pictures to the locations of a grid over their views.

    A location shows a rectangle of the picture. Its weights are the overlaps of this rectangle with the
    cells. A rectangle that is smaller than a cell along an axis is enlarged to one cell: the weighted mean is
    then a bilinear interpolation. A rectangle that the view rotates or shears is replaced by an upright one
    with the same centre and spread. Cells that the view does not touch have the weight 0.

    Args:
        view: (B, 2, 3), from the view's coordinates to the picture's.
        cells: (H, W) of the picture's maps.
        grid: (h, w) of the canvas in which the view lies.
        window: (B, 2, 2), the part of the canvas that the view fills, from `image_windows`.

    Returns:
        weights: (B, h, w, H, W). They sum to 1 over the cells, or to 0 for a location outside the picture.
        share: (B, h, w) in [0, 1], share of each location that shows the picture.
    """
    centre, length, coverage = _locations(grid, window)
    linear, offset = view[:, None, None, :, :2], view[:, None, None, :, 2]
    centre = (linear * centre[..., None, :]).sum(-1) + offset  # [B, h, w, 2]
    length = (linear * length[..., None, :]).norm(dim=-1)
    extent = linear.abs().sum(-1)
    (columns, x_share), (rows, y_share) = (
        _axis_weights(centre[..., axis], length[..., axis], offset[..., axis], extent[..., axis], n)
        for axis, n in enumerate(cells[::-1])
    )
    return rows[..., :, None] * columns[..., None, :], coverage * x_share * y_share


def is_axis_aligned(view: Tensor) -> bool:
    """Whether views (B, 2, 3) are known to neither rotate nor shear.

    On a GPU the answer is False without a test, because a test would wait for the GPU.
    """
    return view.device.type == 'cpu' and not (view[:, 0, 1].any() or view[:, 1, 0].any())


def separable_interpolation_weights(
    view: Tensor, cells: tuple[int, int], grid: tuple[int, int], window: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Interpolation weights of rows and columns, for views that neither rotate nor shear.

    Takes the arguments of `interpolation_weights`.

    Returns:
        rows: (B, h, H), and columns: (B, w, W). Their products are the weights of `interpolation_weights`.
        share: (B, h, w) in [0, 1], share of each location that shows the picture.
    """
    by_axis = []
    for axis, (n, n_cells) in enumerate(zip(grid[::-1], cells[::-1])):
        centre, length, coverage = _axis_locations(n, window[:, axis])  # [B, n] each
        scale, offset = view[:, axis, axis, None], view[:, axis, 2, None]
        weights, share = _axis_weights(
            scale * centre + offset, scale.abs() * length, offset, scale.abs(), n_cells
        )
        by_axis.append((weights, share * coverage))
    (columns, x_share), (rows, y_share) = by_axis
    return rows, columns, y_share[:, :, None] * x_share[:, None]


def _axis_weights(
    centre: Tensor, length: Tensor, offset: Tensor, extent: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """Interpolation weights from the n cells of a picture to locations, along one axis.

    Args:
        centre: (...), centres of the locations in the picture, from -1 to 1.
        length: (...), lengths of the locations in the picture.
        offset: centre of the view in the picture; broadcasts against `centre`.
        extent: half of the view's length in the picture; broadcasts against `centre`.
        n: number of cells.

    Returns:
        The weights (..., n), and the share of each location that lies in the picture, (...).
    """
    centre, length = (centre + 1) / 2 * n, length / 2 * n  # in cells
    inside = (centre + length / 2).clamp_max(n) - (centre - length / 2).clamp_min(0)
    share = (inside / length.clamp_min(1e-6)).clamp(0, 1)
    first, last = _touched_cells(extent, offset, n)
    length = length.clamp_min(1)
    low, high = torch.maximum(centre - length / 2, first), torch.minimum(centre + length / 2, last)
    return _overlap(low, high, n), share


def _locations(grid: tuple[int, int], window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centres and lengths of the locations of a canvas, in coordinates of the view that fills the window.

    Returns:
        Centres and lengths in the view's coordinates, (B, h, w, 2) each, and the share of each location that
        the view fills, (B, h, w).
    """
    by_axis = [_axis_locations(n, window[:, axis]) for axis, n in enumerate(grid[::-1])]
    centre, length, share = (
        torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), -1) for x, y in zip(*by_axis)
    )
    return centre, length, share.prod(-1)


def _axis_locations(n: int, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centres, lengths and shares, (B, n) each, of n locations along an axis, relative to windows (B, 2)."""
    start, size = window[:, :1], (window[:, 1:] - window[:, :1]).clamp_min(1e-6)
    edges = (2 * (torch.arange(n + 1, device=window.device) / n - start) / size - 1).clamp(-1, 1)
    length = edges.diff()  # [B, n]
    return (edges[:, :-1] + edges[:, 1:]) / 2, length, length * size * n / 2


def _touched_cells(extent: Tensor, offset: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Start of the first and end of the last cell that a view's bounding box touches, among n cells."""
    first, last = (offset - extent + 1) / 2 * n, (offset + extent + 1) / 2 * n
    # An overlap of less than a thousandth of a cell is rounding.
    first = (first + 1e-3).floor().clamp(0, n - 1)
    return first, torch.maximum((last - 1e-3).ceil().clamp_max(n), first + 1)


def _overlap(low: Tensor, high: Tensor, n: int) -> Tensor:
    """Share of each interval (...) in each of n cells, (..., n); 0 for an empty interval."""
    start = torch.arange(n, device=low.device)
    overlap = (torch.minimum(high[..., None], start + 1) - torch.maximum(low[..., None], start)).clamp_min(0)
    return overlap / overlap.sum(-1, keepdim=True).clamp_min(1e-6)
