"""Maps brought to the pixels of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def maps_on_image(maps: Tensor, view: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly to an image.

    Args:
        maps: (T, h, w).
        view: (2, 3), the affine map from the maps' coordinates to the image's, both from -1 to 1 over their
            full extent.
        size: Height and width of the result.

    Returns:
        (T, H, W); NaN where the maps do not reach.
    """
    square = torch.cat((view, view.new_tensor([[0, 0, 1]])))
    seen_at = F.affine_grid(square.inverse()[None, :2], [1, 1, *size], align_corners=False)
    heat = F.grid_sample(maps[None], seen_at, padding_mode='border', align_corners=False)[0]
    return heat.masked_fill((seen_at[0].abs() > 1).any(-1), float('nan'))
