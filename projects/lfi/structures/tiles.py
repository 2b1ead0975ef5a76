"""Pictures that show several images: side by side (Mosaic), blended (MixUp), or cut out (CopyPaste)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .interaction_maps import InteractionMaps
from .views import full_window, numbers_like, read_upright_view, read_view


class Tiles(NamedTuple):
    """What a picture shows of n images.

    Args:
        windows: (n, 2, 2), the rectangles in which it shows them, as `windows_of` has them, parts of the
            picture.
        views: (n, 2, 3), what of each image its window shows, as `InteractionMaps.warp` has it.
        shares: n, how much of a location in the window shows it: less than 1 where images are blended.
        covers: (n, k, k) uint8, on a grid over the picture, how much of each of its cells shows the image, in
            255ths: the share is multiplied by it. They say how much of a location shows the image, and not
            which of the cells of its map: what is covered counts in a location's values. k is a power of 2.
            Defaults to None: all of each.
    """

    windows: Tensor
    views: Tensor
    shares: tuple[float, ...]
    covers: np.ndarray | None = None

    @classmethod
    def whole(cls, view: Tensor) -> Tiles:
        """Of a picture that shows one image, in the view (2, 3)."""
        return cls(full_window(torch.ones(())), view[None], (1.0,))


def tile_maps(
    maps: InteractionMaps,
    tiles: Sequence[Tiles],
    grid: tuple[int, int],
    window: Tensor | None = None,
    parts: int = 1,
) -> tuple[list[InteractionMaps], Tensor]:
    """The maps of the images that pictures show, for `mix_maps`.

    Args:
        maps: of all S images of B pictures, one picture after the other, on a grid of their own.
        tiles: of each picture.
        grid: (H, W) over the pictures.
        window: (B, 2, 2) of `windows_of`, where the grid is over a canvas of which each picture is a part.
            Defaults to None: the pictures fill it.
        parts: of a location's side, for which shares are wanted. Defaults to 1: of whole locations.

    Returns:
        n maps of B images, n the largest number that a picture shows, and the share of each part of a
        location that shows each, (B, n, parts * H, parts * W); 0 where a picture shows fewer.
    """
    counts = [len(one.shares) for one in tiles]
    n, device = max(counts), maps.logits.device
    starts = [sum(counts[:b]) for b in range(len(counts))]
    rows = torch.tensor(
        [[start + min(i, count - 1) for i in range(n)] for start, count in zip(starts, counts)]
    ).to(device, non_blocking=True)
    shares = numbers_like(
        [[*one.shares, *[0.0] * (n - count)] for one, count in zip(tiles, counts)],
        maps.logits,
    )
    windows = _placed(tiles, window, maps.logits)[0]
    shown = shown_shares(tiles, (parts * grid[0], parts * grid[1]), window, maps.logits)
    views = _joined([one.views for one in tiles], device)
    maps = maps.warp(views, grid, windows)
    # Images of a cache are complete, and what a location shows of them is its share.
    maps = replace(maps, valid=torch.ones_like(maps.valid))
    return [maps.take(rows[:, i]) for i in range(n)], shown[rows] * shares[..., None, None]


def shown_shares(
    tiles: Sequence[Tiles],
    grid: tuple[int, int],
    window: Tensor | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """How much of each location shows each of the S images of B pictures, before any is blended.

    Args:
        tiles: of each picture.
        grid: (H, W) over the pictures.
        window: as of `tile_maps`. Defaults to None.
        like: whose type and device the result has. Defaults to None: float32 on the CPU.

    Returns:
        (S, H, W) in [0, 1].
    """
    like = torch.zeros(()) if like is None else like
    windows, pictures = _placed(tiles, window, like)
    covers, ends = _covers(tiles), [one.views for one in tiles]
    if covers is not None:
        # They, as windows, say already where an image ends.
        whole = torch.eye(2, 3)
        ends = [one.views if one.covers is None else whole.expand_as(one.views) for one in tiles]
    views = _joined(ends, like.device).to(like, non_blocking=True)
    shown = read_view(views, (1, 1), grid, windows)[1]  # [S, H, W]
    if covers is None:
        return shown
    return shown * _mean_of(covers.to(like, non_blocking=True) / 255, grid, pictures)


def _placed(tiles: Sequence[Tiles], window: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """The windows of S images on the canvas of B pictures, and those of their pictures, (S, 2, 2) each."""
    windows = torch.cat([one.windows for one in tiles]).to(like, non_blocking=True)
    picture = full_window(like).expand(len(tiles), 2, 2) if window is None else window
    picture_of = torch.tensor([b for b, one in enumerate(tiles) for _ in one.shares])
    picture = picture[picture_of.to(like.device, non_blocking=True)]
    return picture[..., :1] + windows * (picture[..., 1:] - picture[..., :1]), picture


def _covers(tiles: Sequence[Tiles]) -> Tensor | None:
    """The covers of all tiles on the finest of their grids, (S, k, k) uint8, or None where none has any."""
    finest = max((one.covers.shape[-1] for one in tiles if one.covers is not None), default=0)
    if not finest:
        return None
    of_pictures = []
    for one in tiles:
        covers = np.full((len(one.shares), 1, 1), 255, np.uint8) if one.covers is None else one.covers
        finer = finest // covers.shape[-1]
        of_pictures.append(covers.repeat(finer, 1).repeat(finer, 2))
    return torch.from_numpy(np.concatenate(of_pictures))


def _mean_of(pictures: Tensor, grid: tuple[int, int], window: Tensor) -> Tensor:
    """The mean of what each location of a grid shows of pictures (S, h, w) in windows (S, 2, 2)."""
    whole = torch.eye(2, 3, device=pictures.device)[None]
    cells = pictures.shape[-2], pictures.shape[-1]
    down, across, _ = read_upright_view(whole, cells, grid, window)
    # Autocast would take the products in half precision, in which a share of a half is off by a thousandth.
    with torch.autocast(pictures.device.type, enabled=False):
        return down @ pictures @ across.mT


def _joined(matrices: list[Tensor], device: torch.device) -> Tensor:
    """Matrices (n, 2, 3) of several pictures, (S, 2, 3), on a device only where some are there already."""
    if len({one.device for one in matrices}) > 1:
        matrices = [one.to(device, non_blocking=True) for one in matrices]
    return torch.cat(matrices)
