"""Views: affine maps (B, 2, 3) from what augmentation shows to the picture it was taken from.

Coordinates run from -1 to 1 over a whole picture, x before y, as `torch.nn.functional.affine_grid` has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def numbers_like(values: Sequence, like: Tensor) -> Tensor:
    """Numbers as a tensor of another's type and device; `Tensor.new_tensor` would wait for a GPU."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


def filled_share(canvas: tuple[int, int], sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """How much of a padded canvas the pictures at its top left fill, (B, 2), width before height.

    Args:
        canvas: height and width.
        sizes: height and width of each picture.
        device: where the result is wanted.
    """
    share = torch.tensor([[w / canvas[1], h / canvas[0]] for h, w in sizes])
    return share.to(device, non_blocking=True)


def sample_spots(
    view: Tensor, cells: tuple[int, int], grid: tuple[int, int], samples: Sequence[int], filled: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where in a view to sample each position of a grid, and how much of the position the view fills.

    A position that shows f > 1 cells of the picture is sampled over f - 1 of them, to which bilinear
    interpolation adds one; where it shows one cell or less, all its samples lie in its middle. Of a position
    that the view fills in part, that part counts.

    Args:
        view: (B, 2, 3).
        cells: (H, W) of the picture's maps.
        grid: (h, w).
        samples: (m, n) for each position, down and across.
        filled: (B, 2) of the grid, as `filled_share` gives it.

    Returns:
        x (B, w * n) and y (B, h * m) in the view's coordinates, and the shares (B, 1, h, w).
    """
    spots, shares = [], []
    for axis, (side, n) in enumerate(zip(grid[::-1], samples[::-1])):
        share = filled[:, axis, None]  # [B, 1]
        edges = (torch.arange(side + 1, device=view.device) / side / share).clamp_max(1)  # [B, side + 1]
        start, end = edges[:, :-1], edges[:, 1:]
        shares.append((end - start) * share * side)
        shown = (view[..., axis] * numbers_like(cells[::-1], view)).norm(dim=-1, keepdim=True) * (end - start)
        spread = (1 - 1 / shown.clamp_min(1)) * 2 * (end - start)
        offset = torch.arange(1, 2 * n, 2, device=view.device) / (2 * n) - 0.5
        spots.append(((start + end - 1)[..., None] + spread[..., None] * offset).flatten(1))
    return spots[0], spots[1], (shares[1][:, :, None] * shares[0][:, None])[:, None]


def seen_from(view: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Where a view shows each of its places x (B, w) and y (B, h): (B, h, w, 2)."""
    along_x, along_y, origin = view[:, None, None].unbind(-1)  # each [B, 1, 1, 2]
    return along_x * x[:, None, :, None] + along_y * y[:, :, None, None] + origin
