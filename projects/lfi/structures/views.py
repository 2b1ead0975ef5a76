"""Views: affine maps (B, 2, 3) between pictures, whose coordinates run from -1 to 1, x before y."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def compose_views(outer: Tensor, inner: Tensor) -> Tensor:
    """First `inner`, then `outer`: from the inner's view to the outer's source, (B, 2, 3)."""
    linear = outer[..., :2] @ inner[..., :2]
    offset = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return torch.cat((linear, offset), -1)


def view_of_top_left(canvas: tuple[int, int], sizes: Sequence[tuple[int, int]], device) -> Tensor:
    """From a padded canvas to the pictures at its top left, (B, 2, 3).

    Args:
        canvas: height and width.
        sizes: height and width of each picture.
        device: where the result is wanted.
    """
    # source = (canvas / size) * view + (canvas / size - 1)
    ratio = torch.tensor([[canvas[1] / w, canvas[0] / h] for h, w in sizes])
    view = torch.cat((torch.diag_embed(ratio), ratio[..., None] - 1), -1)
    return view.to(device, non_blocking=True)
