"""Views: affine maps (B, 2, 3) from what augmentation shows to the picture it was taken from.

Coordinates run from -1 to 1 over a complete picture, x before y, as `torch.nn.functional.affine_grid` has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def numbers_like(values: Sequence, like: Tensor) -> Tensor:
    """Numbers as a tensor of another's type and device; `Tensor.new_tensor` would wait for a GPU."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


def windows_of(canvas: tuple[int, int], sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """The parts of a padded canvas that the pictures at its top left fill.

    Args:
        canvas: height and width.
        sizes: height and width of each picture.
        device: where the result is wanted.

    Returns:
        (B, 2, 2): where each begins and ends, across before down, as parts of the canvas.
    """
    windows = torch.tensor([[[0.0, w / canvas[1]], [0.0, h / canvas[0]]] for h, w in sizes])
    return windows.to(device, non_blocking=True)


def full_window(like: Tensor) -> Tensor:
    """The window (1, 2, 2) of a picture that fills its canvas, of another tensor's type and device."""
    return torch.stack((like.new_zeros(1, 2), like.new_ones(1, 2)), -1)


def most_filled(grid: tuple[int, int], window: Tensor) -> Tensor:
    """The most of a location of a grid (h, w) that windows (B, 2, 2) can fill, (B, 1, 1): up to 1."""
    across, down = (window[..., 1] - window[..., 0]).unbind(-1)
    part = (across * grid[1]).clamp(1e-6, 1) * (down * grid[0]).clamp(1e-6, 1)
    return part[:, None, None]


def read_view(
    view: Tensor, cells: tuple[int, int], grid: tuple[int, int], window: Tensor
) -> tuple[Tensor, Tensor]:
    """By which weights each location of a grid over a view reads the cells of the picture.

    A location shows a rectangle of the picture and reads the mean of the cells there, each by its overlap.
    Where the rectangle is shorter than a cell, it is widened to one, which makes bilinear interpolation of
    the mean. A rectangle that the view rotates or shears is read upright, with the same centre and spread.
    Cells that the view does not touch are never read.

    Args:
        view: (B, 2, 3).
        cells: (H, W) of the picture's maps.
        grid: (h, w) of the canvas in which the view lies.
        window: (B, 2, 2), the part of the canvas that the view fills, as `windows_of` gives it.

    Returns:
        The weights (B, h, w, H, W), whose sum over the cells is 1, or 0 for a location beyond the picture;
        and the share of each location that shows the picture, (B, h, w) in [0, 1].
    """
    middle, length, shown = _locations(grid, window)
    turn, origin = view[:, None, None, :, :2], view[:, None, None, :, 2]
    middle = (turn * middle[..., None, :]).sum(-1) + origin  # [B, h, w, 2]
    length = (turn * length[..., None, :]).norm(dim=-1)
    reach = turn.abs().sum(-1)
    (across, x), (down, y) = (
        _cells_read(middle[..., axis], length[..., axis], origin[..., axis], reach[..., axis], n)
        for axis, n in enumerate(cells[::-1])
    )
    return down[..., :, None] * across[..., None, :], shown * x * y


def is_upright(view: Tensor) -> bool:
    """Whether views (B, 2, 3) are known to neither rotate nor shear; of a device's, nothing is known."""
    return view.device.type == 'cpu' and not (view[:, 0, 1].any() or view[:, 1, 0].any())


def read_upright_view(
    view: Tensor, cells: tuple[int, int], grid: tuple[int, int], window: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `read_view`, for views that neither rotate nor shear: rows and columns are read apart.

    Arguments as `read_view`.

    Returns:
        The weights of the rows (B, h, H) and of the columns (B, w, W), whose products are those of
        `read_view`; and the share of each location that shows the picture, (B, h, w) in [0, 1].
    """
    read = []
    for axis, (n, n_cells) in enumerate(zip(grid[::-1], cells[::-1])):
        middle, length, shown = _along(n, window[:, axis])  # [B, n] each
        scale, origin = view[:, axis, axis, None], view[:, axis, 2, None]
        weights, share = _cells_read(
            scale * middle + origin, scale.abs() * length, origin, scale.abs(), n_cells
        )
        read.append((weights, share * shown))
    (across, x), (down, y) = read
    return down, across, y[:, :, None] * x[:, None]


def _cells_read(
    middle: Tensor, length: Tensor, origin: Tensor, reach: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """By which weights locations read the n cells of a picture along one axis.

    Args:
        middle: (...), where the locations' middles lie in the picture, from -1 to 1.
        length: (...), of what they show.
        origin: the view's middle, of a shape that goes with that of `middle`.
        reach: half of the view's extent, likewise.
        n: cells.

    Returns:
        The weights (..., n), and the part of each location that lies in the picture, (...).
    """
    middle, length = (middle + 1) / 2 * n, length / 2 * n  # in cells
    inside = (middle + length / 2).clamp_max(n) - (middle - length / 2).clamp_min(0)
    share = (inside / length.clamp_min(1e-6)).clamp(0, 1)
    first, last = _touched(reach, origin, n)
    length = length.clamp_min(1)
    low, high = torch.maximum(middle - length / 2, first), torch.minimum(middle + length / 2, last)
    return _overlap(low, high, n), share


def _locations(grid: tuple[int, int], window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the locations of a canvas show of the view that fills a part of it.

    Returns:
        Middles and lengths in the view's coordinates, (B, h, w, 2) each, and the share of each location that
        the view fills, (B, h, w).
    """
    by_axis = [_along(n, window[:, axis]) for axis, n in enumerate(grid[::-1])]
    middle, length, share = (
        torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), -1) for x, y in zip(*by_axis)
    )
    return middle, length, share.prod(-1)


def _along(n: int, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Middles, lengths and filled shares, (B, n) each, of n locations; a view fills their window (B, 2)."""
    start, part = window[:, :1], (window[:, 1:] - window[:, :1]).clamp_min(1e-6)
    edges = (2 * (torch.arange(n + 1, device=window.device) / n - start) / part - 1).clamp(-1, 1)
    length = edges.diff()  # [B, n]
    return (edges[:, :-1] + edges[:, 1:]) / 2, length, length * part * n / 2


def _touched(reach: Tensor, origin: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The edges of the first and the last of n cells that a view's bounding box touches."""
    first, last = (origin - reach + 1) / 2 * n, (origin + reach + 1) / 2 * n
    # What is touched by less than a thousandth of a cell is rounding.
    first = (first + 1e-3).floor().clamp(0, n - 1)
    return first, torch.maximum((last - 1e-3).ceil().clamp_max(n), first + 1)


def _overlap(low: Tensor, high: Tensor, n: int) -> Tensor:
    """Which part of each interval (...) lies in each of n cells, (..., n); all are 0 where it is empty."""
    start = torch.arange(n, device=low.device)
    held = (torch.minimum(high[..., None], start + 1) - torch.maximum(low[..., None], start)).clamp_min(0)
    return held / held.sum(-1, keepdim=True).clamp_min(1e-6)
