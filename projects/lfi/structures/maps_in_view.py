"""From a teacher's maps of images to maps of the views that a student sees, on the student's grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .batch_view import BatchView
from .interaction_maps import InteractionMaps
from .mixed_maps import mix_maps
from .student_grid import StudentGrid
from .tiles import Tiles, tile_maps
from .views import most_filled, windows_of


def maps_in_view(
    maps: InteractionMaps,
    grid: StudentGrid,
    valid_sizes: Sequence[tuple[int, int]],
    views: Tensor | None = None,
) -> InteractionMaps:
    """Maps on the student's grid.

    Args:
        maps: of the images.
        grid: the student's.
        valid_sizes: height and width in pixels of each image without padding.
        views: (B, 2, 3), what the student is shown of the images. Defaults to None, all of them.
    """
    padded = any(size != grid.canvas for size in valid_sizes)
    if views is None and not padded:
        return maps.resize(grid.shape)
    if views is None:
        views = torch.eye(2, 3).expand(len(valid_sizes), 2, 3)
    window = windows_of(grid.canvas, valid_sizes, maps.logits.device) if padded else None
    return maps.warp(views, grid.shape, window)


def mixed_maps_in_view(
    maps: InteractionMaps, grid: StudentGrid, view: BatchView, views: Tensor, num_texts: int
) -> InteractionMaps:
    """Maps of all S images that a batch shows as those of its B pictures, on the student's grid.

    Args:
        maps: (S, ...), of the images that the pictures are made of.
        grid: the student's.
        view: the pictures, with their tiles, their mixture, or both, and their labels.
        views: (S, 2, 3), what the student is shown of the images.
        num_texts: C, how many concepts the teacher has.
    """
    tiles = view.tiles or [Tiles.whole(each) for each in views]
    window = windows_of(grid.canvas, view.valid_sizes, view.inputs.device)
    if view.mixture is None:
        sources, share = tile_maps(maps, tiles, grid.shape, window)
    else:
        sources, share = view.mixture.sources(maps, tiles, grid.shape, grid.canvas, view.valid_sizes)
    # A share of what the picture can fill of a location, as for one image.
    return mix_maps(sources, share / most_filled(grid.shape, window)[:, None], num_texts, view.labels)
