"""A teacher's maps in the views of their images that a student is shown, on the student's grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.models.backbones import InteractionQueryViT
from lfi.models.teachers import TeacherBatch
from lfi.structures import InteractionMaps, Pieces, mix_maps, most_filled, piece_maps, windows_of

from .samples import seen_canvas


def maps_in_view(
    maps: InteractionMaps,
    backbone: InteractionQueryViT,
    inputs: Tensor,
    valid_sizes: Sequence[tuple[int, int]],
    views: Tensor | None = None,
) -> InteractionMaps:
    """Maps on the student's grid.

    Args:
        maps: of the images.
        backbone: the student's, or one that is asked in the same way.
        inputs: (B, 3, H, W), as the backbone gets them.
        valid_sizes: height and width of each image without padding.
        views: (B, 2, 3), what the student is shown of the images. Defaults to None, all of them.
    """
    grid, canvas = backbone.patch_grid(*inputs.shape[-2:]), _canvas(backbone, inputs)
    padded = any(size != canvas for size in valid_sizes)
    if views is None and not padded:
        return maps.resize(grid)
    if views is None:
        views = torch.eye(2, 3).expand(len(inputs), 2, 3)
    window = windows_of(canvas, valid_sizes, inputs.device) if padded else None
    return maps.warp(views, grid, window)


def mixed_maps_in_view(
    maps: InteractionMaps,
    backbone: InteractionQueryViT,
    batch: TeacherBatch,
    views: Tensor,
    num_texts: int,
    labels: Tensor,
) -> InteractionMaps:
    """Maps of all S images that a batch shows as those of its B pictures, on the student's grid.

    Args:
        maps: (S, ...), of the images that the pictures are made of.
        backbone: the student's, or one that is asked in the same way.
        batch: the pictures, with their pieces, their mixture, or both.
        views: (S, 2, 3), what the student is shown of the images.
        num_texts: C, how many concepts the teacher has.
        labels: (B, C), of the pictures.
    """
    canvas, grid = _canvas(backbone, batch.inputs), backbone.patch_grid(*batch.inputs.shape[-2:])
    pieces = batch.pieces or [Pieces.whole(view) for view in views]
    window = windows_of(canvas, batch.valid_sizes, batch.inputs.device)
    if batch.mixture is None:
        sources, share = piece_maps(maps, pieces, grid, window)
    else:
        sources, share = batch.mixture.sources(maps, pieces, grid, canvas, batch.valid_sizes)
    # As of one image: a part of what a picture smaller than a location can fill.
    return mix_maps(sources, share / most_filled(grid, window)[:, None], num_texts, labels)


def _canvas(backbone: InteractionQueryViT, inputs: Tensor) -> tuple[int, int]:
    """Height and width in pixels of what the student's grid covers."""
    height, width = inputs.shape[-2:]
    return seen_canvas(backbone, (height, width), backbone.patch_grid(height, width))
