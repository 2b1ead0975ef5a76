"""Tiles: the places of images in a picture that shows several.

The images lie side by side (Mosaic), are blended (MixUp) or are cut out (CopyPaste).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .interaction_maps import InteractionMaps
from .views import full_window, interpolation_weights, separable_interpolation_weights, tensor_like


class Tiles(NamedTuple):
    """Placement of n images in one picture.

    Args:
        windows: (n, 2, 2), rectangle of each image as fractions of the picture, as `image_windows`
            returns it.
        views: (n, 2, 3), view of each image that its window shows, as `InteractionMaps.warp` takes it.
        shares: n weights of the images in the pixels of their windows; below 1 for a blended image.
        coverage: (n, k, k) uint8, visible share of each image in 255ths, on a k x k grid over the picture,
            where k is a power of 2. The coverage multiplies the image's share at a location, and does not
            change the map's scores. Defaults to None: all of each image is visible.
    """

    windows: Tensor
    views: Tensor
    shares: tuple[float, ...]
    coverage: np.ndarray | None = None

    @classmethod
    def whole(cls, view: Tensor) -> Tiles:
        """Build the tiles of a picture that shows one image, in the view (2, 3)."""
        return cls(full_window(torch.ones(())), view[None], (1.0,))


def tile_maps(
    maps: InteractionMaps,
    tiles: Sequence[Tiles],
    grid: tuple[int, int],
    window: Tensor | None = None,
    parts: int = 1,
) -> tuple[list[InteractionMaps], Tensor]:
    """Warp the maps of tiled images into their pictures, for `mix_maps`.

    Args:
        maps: maps of all S images of B pictures, one picture after the other, on a grid of their own.
        tiles: tiles of each of the B pictures.
        grid: (H, W) over the canvas.
        window: (B, 2, 2), the part of the canvas that each picture fills, from `image_windows`. Defaults to
            None: the pictures fill the canvas.
        parts: number of parts into which each side of a location is divided. Shares are returned for each
            part. Defaults to 1: not divided.

    Returns:
        n maps of B images, where n is the largest number of images in a picture; and the share of each image
        in each part of a location, (B, n, parts * H, parts * W), 0 where a picture has fewer images.
    """
    counts = [len(picture_tiles.shares) for picture_tiles in tiles]
    n, device = max(counts), maps.logits.device
    starts = [sum(counts[:b]) for b in range(len(counts))]
    rows = torch.tensor(
        [[start + min(i, count - 1) for i in range(n)] for start, count in zip(starts, counts)]
    ).to(device, non_blocking=True)
    shares = tensor_like(
        [[*picture_tiles.shares, *[0.0] * (n - count)] for picture_tiles, count in zip(tiles, counts)],
        maps.logits,
    )
    windows = _canvas_windows(tiles, window, maps.logits)[0]
    visible = visible_shares(tiles, (parts * grid[0], parts * grid[1]), window, maps.logits)
    views = _concatenate([picture_tiles.views for picture_tiles in tiles], device)
    maps = maps.warp(views, grid, windows)
    # Cached maps have no padding: all locations are valid, and the shares say where an image is visible.
    maps = replace(maps, valid=torch.ones_like(maps.valid))
    return [maps.take(rows[:, i]) for i in range(n)], visible[rows] * shares[..., None, None]


def visible_shares(
    tiles: Sequence[Tiles],
    grid: tuple[int, int],
    window: Tensor | None = None,
    reference: Tensor | None = None,
) -> Tensor:
    """Visible share of each of S images in B pictures at each location, before blending.

    Args:
        tiles: tiles of each of the B pictures.
        grid: (H, W) over the canvas.
        window: (B, 2, 2), the part of the canvas that each picture fills. Defaults to None: all of it.
        reference: tensor with the dtype and device of the result. Defaults to None: float32 on the CPU.

    Returns:
        (S, H, W) in [0, 1].
    """
    reference = torch.zeros(()) if reference is None else reference
    windows, picture_windows = _canvas_windows(tiles, window, reference)
    coverage, views = _stack_coverage(tiles), [picture_tiles.views for picture_tiles in tiles]
    if coverage is not None:
        # Coverage is 0 outside the image, so the view need not exclude that area.
        whole = torch.eye(2, 3)
        views = [
            view if picture_tiles.coverage is None else whole.expand_as(view)
            for view, picture_tiles in zip(views, tiles)
        ]
    all_views = _concatenate(views, reference.device).to(reference, non_blocking=True)
    visible = interpolation_weights(all_views, (1, 1), grid, windows)[1]  # [S, H, W]
    if coverage is None:
        return visible
    return visible * _area_mean(coverage.to(reference, non_blocking=True) / 255, grid, picture_windows)


def _canvas_windows(
    tiles: Sequence[Tiles], window: Tensor | None, reference: Tensor
) -> tuple[Tensor, Tensor]:
    """Windows (S, 2, 2) of S images on the canvas, and windows (S, 2, 2) of the pictures that show them."""
    windows = torch.cat([picture_tiles.windows for picture_tiles in tiles]).to(reference, non_blocking=True)
    picture_windows = full_window(reference).expand(len(tiles), 2, 2) if window is None else window
    rows = torch.tensor([b for b, picture_tiles in enumerate(tiles) for _ in picture_tiles.shares])
    picture_windows = picture_windows[rows.to(reference.device, non_blocking=True)]
    start, end = picture_windows[..., :1], picture_windows[..., 1:]
    return start + windows * (end - start), picture_windows


def _stack_coverage(tiles: Sequence[Tiles]) -> Tensor | None:
    """Coverage of all images on the finest grid, (S, k, k) uint8, or None if no picture has coverage."""
    finest = max(
        (picture_tiles.coverage.shape[-1] for picture_tiles in tiles if picture_tiles.coverage is not None),
        default=0,
    )
    if not finest:
        return None
    upsampled = []
    for picture_tiles in tiles:
        coverage = picture_tiles.coverage
        if coverage is None:
            coverage = np.full((len(picture_tiles.shares), 1, 1), 255, np.uint8)
        factor = finest // coverage.shape[-1]
        upsampled.append(coverage.repeat(factor, 1).repeat(factor, 2))
    return torch.from_numpy(np.concatenate(upsampled))


def _area_mean(values: Tensor, grid: tuple[int, int], windows: Tensor) -> Tensor:
    """Mean of values (S, h, w) over each location of a grid (H, W) in windows (S, 2, 2): (S, H, W)."""
    whole = torch.eye(2, 3, device=values.device)[None]
    cells = values.shape[-2], values.shape[-1]
    rows, columns, _ = separable_interpolation_weights(whole, cells, grid, windows)
    # In half precision a share of a half would be off by a thousandth.
    with torch.autocast(values.device.type, enabled=False):
        return rows @ values @ columns.mT


def _concatenate(matrices: list[Tensor], device: torch.device) -> Tensor:
    """Concatenate matrices (n, 2, 3) to (S, 2, 3); move them to the device if their devices differ."""
    if len({matrix.device for matrix in matrices}) > 1:
        matrices = [matrix.to(device, non_blocking=True) for matrix in matrices]
    return torch.cat(matrices)
