"""Teacher maps of images, and the images' places, in the views that a student sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .batch_view import BatchView
from .interaction_maps import InteractionMaps
from .student_grid import StudentGrid
from .tiles import Placement, Tiles, place_tiles
from .views import image_windows, max_coverage


def maps_in_view(
    maps: InteractionMaps,
    grid: StudentGrid,
    valid_sizes: Sequence[tuple[int, int]],
    views: Tensor | None = None,
) -> InteractionMaps:
    """Warp the maps of images to the student's grid.

    Args:
        maps: maps of B images.
        grid: grid of the student.
        valid_sizes: height and width in pixels of each image without padding.
        views: (B, 2, 3), views of the images that the student sees. Defaults to None: the complete images.
    """
    padded = any(size != grid.canvas for size in valid_sizes)
    if views is None and not padded:
        return maps.resize(grid.shape)
    if views is None:
        views = torch.eye(2, 3).expand(len(valid_sizes), 2, 3)
    window = image_windows(grid.canvas, valid_sizes, maps.logits.device) if padded else None
    return maps.warp(views, grid.shape, window)


def place_images(batch: BatchView, views: Tensor, grid: StudentGrid) -> Placement:
    """Place the images of a batch in its pictures, on the student's grid.

    Args:
        batch: the B pictures, with their tiles and mixture.
        views: (S, 2, 3), view of each image that the student sees.
        grid: grid of the student.
    """
    tiles = batch.tiles or [Tiles.whole(matrix) for matrix in views]
    window = image_windows(grid.canvas, batch.valid_sizes, batch.inputs.device)
    if batch.mixture is None:
        placement = place_tiles(tiles, grid.shape, window)
    else:
        placement = batch.mixture.place(tiles, grid.shape, window, grid.canvas)
    # Divide by the largest coverage, as `InteractionMaps.warp` does.
    return replace(placement, share=placement.share / max_coverage(grid.shape, window)[:, None])
