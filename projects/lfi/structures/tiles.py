"""Tiles: the places of images in a picture that shows several.

The images lie side by side (Mosaic), are blended (MixUp) or are cut out (CopyPaste).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Placement:
    """Images in B pictures of n images each, on a student's grid.

    Args:
        rows: (B, n) int64, row of each image among the S images of a batch.
        views: (B, n, 2, 3), view of each image that the picture shows. On the CPU where the recorded views
            are, so that `is_axis_aligned` waits for no GPU.
        windows: (B, n, 2, 2), rectangle of each image as fractions of the canvas.
        share: (B, n, H, W) in [0, 1], share of each location that shows the image. 0 everywhere for an
            image that fills up a picture of fewer images.
    """

    rows: Tensor
    views: Tensor
    windows: Tensor
    share: Tensor

    @property
    def area(self) -> Tensor:
        """Share of each image in what the picture shows of all images, (B, n)."""
        return image_areas(self.share)

    def take(self, maps: InteractionMaps) -> list[InteractionMaps]:
        """Select the maps of the images: n maps of B images, from the maps of S images."""
        return [maps.take(rows) for rows in self.rows.unbind(1)]

    def warp(self, sources: Sequence[InteractionMaps]) -> list[InteractionMaps]:
        """Warp n maps of B images into the pictures, for `mix_maps`."""
        grid = self.share.shape[-2], self.share.shape[-1]
        return [maps.warp(self.views[:, i], grid, self.windows[:, i]) for i, maps in enumerate(sources)]


def image_areas(share: Tensor) -> Tensor:
    """Convert the images' shares at each location, (B, n, H, W), to their shares of the picture, (B, n).

    A picture of filler alone counts as its first image.
    """
    area = share.sum((-2, -1))
    total = area.sum(1, keepdim=True)
    first = torch.zeros_like(area)
    first[:, 0] = 1
    return torch.where(total > 1e-6, area / total.clamp_min(1e-6), first)


def place_tiles(tiles: Sequence[Tiles], grid: tuple[int, int], window: Tensor) -> Placement:
    """Place the images of tiled pictures on a grid.

    Args:
        tiles: tiles of each of the B pictures.
        grid: (H, W) over the canvas.
        window: (B, 2, 2), the part of the canvas that each picture fills, from `image_windows`. Its device
            is the result's.
    """
    counts = [len(picture_tiles.shares) for picture_tiles in tiles]
    n, device = max(counts), window.device
    starts = [sum(counts[:b]) for b in range(len(counts))]
    rows = torch.tensor(
        [[start + min(i, count - 1) for i in range(n)] for start, count in zip(starts, counts)]
    )
    shares = tensor_like(
        [[*picture_tiles.shares, *[0.0] * (n - count)] for picture_tiles, count in zip(tiles, counts)],
        window,
    )
    views = _concatenate([picture_tiles.views for picture_tiles in tiles], device)
    views = views[rows.to(views.device, non_blocking=True)]
    rows = rows.to(device, non_blocking=True)
    share = visible_shares(tiles, grid, window)[rows] * shares[..., None, None]
    return Placement(rows, views, _canvas_windows(tiles, window)[0][rows], share)


def visible_shares(tiles: Sequence[Tiles], grid: tuple[int, int], window: Tensor | None = None) -> Tensor:
    """Visible share of each of S images in B pictures at each location, before blending.

    Args:
        tiles: tiles of each of the B pictures.
        grid: (H, W) over the canvas.
        window: (B, 2, 2), the part of the canvas that each picture fills. Its device is the result's.
            Defaults to None: the pictures fill the canvas, on the CPU.

    Returns:
        (S, H, W) in [0, 1].
    """
    window = full_window(torch.ones(())).expand(len(tiles), 2, 2) if window is None else window
    windows, picture_windows = _canvas_windows(tiles, window)
    coverage, views = _stack_coverage(tiles), [picture_tiles.views for picture_tiles in tiles]
    if coverage is not None:
        # Coverage is 0 outside the image, so the view need not exclude that area.
        whole = torch.eye(2, 3)
        views = [
            view if picture_tiles.coverage is None else whole.expand_as(view)
            for view, picture_tiles in zip(views, tiles)
        ]
    all_views = _concatenate(views, window.device).to(window, non_blocking=True)
    visible = interpolation_weights(all_views, (1, 1), grid, windows)[1]  # [S, H, W]
    if coverage is None:
        return visible
    return visible * _area_mean(coverage.to(window, non_blocking=True) / 255, grid, picture_windows)


def _canvas_windows(tiles: Sequence[Tiles], window: Tensor) -> tuple[Tensor, Tensor]:
    """Windows (S, 2, 2) of S images on the canvas, and windows (S, 2, 2) of the pictures that show them."""
    windows = torch.cat([picture_tiles.windows for picture_tiles in tiles]).to(window, non_blocking=True)
    rows = torch.tensor([b for b, picture_tiles in enumerate(tiles) for _ in picture_tiles.shares])
    picture_windows = window[rows.to(window.device, non_blocking=True)]
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
