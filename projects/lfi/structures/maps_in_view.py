"""Teacher maps of images, warped into the views that a student sees, on the student's grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .batch_view import BatchView
from .interaction_maps import InteractionMaps
from .mixed_maps import mix_maps
from .student_grid import StudentGrid
from .tiles import Tiles, tile_maps
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


def mixed_maps_in_view(
    maps: InteractionMaps,
    grid: StudentGrid,
    batch: BatchView,
    views: Tensor,
    num_texts: int,
    labels: Tensor | None,
    other_maps: InteractionMaps | None = None,
) -> InteractionMaps:
    """Combine the maps of S images into the maps of B pictures that show them, on the student's grid.

    Args:
        maps: maps of the S images.
        grid: grid of the student.
        batch: the B pictures, with their tiles and mixture.
        views: (S, 2, 3), view of each image that the student sees.
        num_texts: C, number of the teacher's concepts.
        labels: (B, C) in [0, 1], concepts that are chosen first; see `mix_maps`.
        other_maps: maps of the S images in pictures into which they are mixed. Defaults to None: `maps`.
    """
    tiles = batch.tiles or [Tiles.whole(matrix) for matrix in views]
    window = image_windows(grid.canvas, batch.valid_sizes, batch.inputs.device)
    if batch.mixture is None:
        sources, share = tile_maps(maps, tiles, grid.shape, window)
    else:
        sources, share = batch.mixture.sources(
            maps, tiles, grid.shape, grid.canvas, batch.valid_sizes, other_maps
        )
    # Divide by the largest coverage, as `InteractionMaps.warp` does.
    return mix_maps(sources, share / max_coverage(grid.shape, window)[:, None], num_texts, labels)
