"""The part of a batch's maps that shows one image."""

from __future__ import annotations

from torch import Tensor

from lfi.structures import InteractionMaps


def cut_out(
    maps: InteractionMaps, index: int, canvas: tuple[int, int], size: tuple[int, int], view: Tensor
) -> tuple[Tensor, Tensor]:
    """Cut the locations that show an image out of its last maps.

    Args:
        maps: Maps of the batch.
        index: Index of the image in the batch.
        canvas: Height and width in pixels of what the patches cover, as `seen_canvas` gives it.
        size: Height and width of the image at the batch's top left.
        view: (2, 3), from the coordinates of the image in the batch to those of the image in its file.

    Returns:
        Probabilities (T, h, w); and the view, from their own coordinates to those of the image in its file.
    """
    valid = maps.valid[index]
    h, w = int(valid.any(1).sum()), int(valid.any(0).sum())
    heat = maps.over_positions()[index, -1, :, :h, :w].exp()
    # The last cell may end beyond the image, or short of it.
    reach_y, reach_x = (
        cells * pixels / (side * total) for cells, pixels, side, total in zip((h, w), canvas, maps.grid, size)
    )
    cut = view.new_tensor([[reach_x, 0, reach_x - 1], [0, reach_y, reach_y - 1], [0, 0, 1]])
    return heat, view @ cut
