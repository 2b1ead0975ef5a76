"""Pictures that show several images, each in a rectangle of its own (Mosaic) or over another (MixUp)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from .interaction_maps import InteractionMaps
from .views import numbers_like, read_view


class Pieces(NamedTuple):
    """What a picture shows of n images.

    Args:
        views: (n, 2, 3), from the picture's coordinates to each image's, as `InteractionMaps.warp` has it.
        regions: (n, 2, 3), from the picture's coordinates to those of the rectangle in which it shows the
            image: what lies between -1 and 1 there shows it.
        shares: (n,), how much of a location in its rectangle shows it: less than 1 where images are blended.
    """

    views: Tensor
    regions: Tensor
    shares: Tensor

    @classmethod
    def whole(cls, view: Tensor) -> Pieces:
        """Of a picture that shows one image, in the view (2, 3)."""
        return cls(view[None], view[None], torch.ones(1))


def piece_maps(
    maps: InteractionMaps, pieces: Sequence[Pieces], filled: Tensor | None = None
) -> tuple[list[InteractionMaps], Tensor]:
    """The maps of the images that pictures show, for `mix_maps`.

    Args:
        maps: of all S images of B pictures, one picture after the other, warped into the pictures.
        pieces: of each picture, on the CPU.
        filled: (S, 2) of `filled_share`, for each image, where the grid is over a canvas with the picture at
            its top left. Defaults to None: the picture fills it.

    Returns:
        n maps of B images, n the largest number that a picture shows, and the share of each location that
        shows each, (B, n, H, W); 0 where a picture shows fewer.
    """
    counts = [len(one.shares) for one in pieces]
    n, device = max(counts), maps.logits.device
    starts = [sum(counts[:b]) for b in range(len(counts))]
    rows = torch.tensor(
        [[start + min(i, count - 1) for i in range(n)] for start, count in zip(starts, counts)]
    ).to(device, non_blocking=True)
    shares = numbers_like(
        [[float(one.shares[i]) if i < len(one.shares) else 0.0 for i in range(n)] for one in pieces],
        maps.logits,
    )
    regions = torch.cat([one.regions for one in pieces]).to(maps.logits, non_blocking=True)
    filled = regions.new_ones(1, 2) if filled is None else filled.to(regions)
    _, shown = read_view(regions, (1, 1), maps.grid, filled)  # [S, H, W]
    # Images of a cache are complete, and what a location shows of them is its share.
    maps = replace(maps, valid=torch.ones_like(maps.valid))
    return [maps.take(rows[:, i]) for i in range(n)], shown[rows] * shares[..., None, None]
