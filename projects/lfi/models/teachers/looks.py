"""Ways to look at an image more than once: mirrored, in windows, and at several sizes.

A look takes normalised images (B, 3, H, W) and gives maps (B, L, C, h, w) and, for each image, the
concepts' probabilities (B, C).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Look = Callable[[Tensor], tuple[Tensor, Tensor]]


def mirrored(look: Look) -> Look:
    """Look at the images and at their mirror images, and take the mean. It costs twice as much."""

    def look_twice(images: Tensor) -> tuple[Tensor, Tensor]:
        maps, scores = look(images)
        mirror_maps, mirror_scores = look(images.flip(-1))
        return (maps + mirror_maps.flip(-1)) / 2, (scores + mirror_scores) / 2

    return look_twice


def in_windows(look: Look, size: tuple[int, int], stride: tuple[int, int]) -> Look:
    """Slide a window over the images; maps are averaged where windows overlap.

    A concept is as probable as in the window where it is most probable. Windows at the lower and right
    border are moved back inside.

    Args:
        look: what to do with a window.
        size: height and width of the window.
        stride: by how much it moves, down and right.
    """

    def look_around(images: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[-2:]
        if size[0] > height or size[1] > width:
            raise ValueError(f'window.size={size} is larger than the input, {(height, width)}')
        places = [
            (top, left)
            for top in _starts(height, size[0], stride[0])
            for left in _starts(width, size[1], stride[1])
        ]
        total = count = best = None
        for top, left in places:
            maps, scores = look(images[..., top : top + size[0], left : left + size[1]])
            h, w = maps.shape[-2:]
            y, x = _to_cells((top, left), (height, width), size, (h, w))
            if total is None:
                grid = (height * h // size[0], width * w // size[1])
                total, count = maps.new_zeros(*maps.shape[:3], *grid), maps.new_zeros(grid)
                best = scores
            total[..., y : y + h, x : x + w] += maps
            count[y : y + h, x : x + w] += 1
            best = torch.maximum(best, scores)
        return total / count, best

    return look_around


def merge_sizes(looks: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The mean of looks at the same images in several sizes, on the finest of their grids."""
    if len(looks) == 1:
        return looks[0]
    grid = max((maps.shape[-2:] for maps, _ in looks), key=lambda grid: grid[0] * grid[1])
    maps = [_resize(maps, grid) for maps, _ in looks]
    return torch.stack(maps).mean(0), torch.stack([scores for _, scores in looks]).mean(0)


def _starts(side: int, size: int, stride: int) -> list[int]:
    return [*range(0, side - size, stride), side - size]


def _to_cells(
    place: tuple[int, int], full: tuple[int, int], size: tuple[int, int], grid: tuple[int, int]
) -> list[int]:
    cells = []
    for start, side, extent, n in zip(place, full, size, grid):
        # A cell of the map is extent / n pixels wide.
        if start * n % extent or side * n % extent:
            raise ValueError(
                f'window.size={size} at {place} of an input of {full} does not fall on whole cells of its '
                f'map of {grid}: input_size, window.size and window.stride must be multiples of the '
                f"teacher's cell, {size[0] / grid[0]:g} pixels"
            )
        cells.append(start * n // extent)
    return cells


def _resize(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == tuple(grid):
        return maps
    resized = F.interpolate(maps.flatten(1, 2), grid, mode='bilinear', align_corners=False)
    return resized.unflatten(1, maps.shape[1:3])
