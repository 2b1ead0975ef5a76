"""How the images of a batch were mixed in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .interaction_maps import InteractionMaps
from .pieces import Pieces, piece_maps
from .views import windows_of

# Of a location's side, by which shares are multiplied.
PARTS = 4


@dataclass(frozen=True)
class BatchMixture:
    """Each image of a batch, and what was mixed into it: all over (Mixup), or in a box (CutMix, ResizeMix).

    Args:
        other: (B,) int64 on the CPU, which image of the batch was mixed into each.
        size: height and width in pixels of the batch.
        share: of the image itself, wherever the other one shows.
        box: top, bottom, left and right in pixels, where the other one shows. Defaults to None: everywhere.
        resized: whether the box shows all of the other image, and not the part that lies there. Defaults to
            False.
    """

    other: Tensor
    size: tuple[int, int]
    share: float = 0.0
    box: tuple[int, int, int, int] | None = None
    resized: bool = False

    def mix_labels(self, labels: Tensor) -> Tensor:
        """Labels (B, C) of the mixed images, by the share of the area, from those of each image."""
        height, width = self.size
        top, bottom, left, right = self._box
        others = (1 - self.share) * (bottom - top) * (right - left) / (height * width)
        return (1 - others) * labels + others * labels[self._rows(labels)]

    def sources(
        self,
        maps: InteractionMaps,
        pieces: Sequence[Pieces],
        grid: tuple[int, int],
        canvas: tuple[int, int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[list[InteractionMaps], Tensor]:
        """The maps of what the mixed images show, for `mix_maps`.

        Args:
            maps: of all that the images showed before they were mixed, as `piece_maps` has it.
            pieces: of each image before it was mixed.
            grid: (H, W) over the canvas.
            canvas: height and width in pixels of what the grid covers, the batch at its top left. Defaults
                to None: the batch.
            sizes: height and width in pixels of each image, which lies at the top left of the batch. Defaults
                to None: each fills it.

        Returns:
            As `piece_maps`: first what each image shows of its own, then of the other.
        """
        canvas, sizes = canvas or self.size, sizes or [self.size] * len(pieces)
        device = maps.logits.device
        top, bottom, left, right = self._box
        # Within a location the box may lie where an image shows, or beside it: products are taken of parts.
        rows = _covered(top, bottom, self.size[0], canvas[0], PARTS * grid[0])
        columns = _covered(left, right, self.size[1], canvas[1], PARTS * grid[1])
        others = ((1 - self.share) * rows[:, None] * columns).float().to(device, non_blocking=True)
        own, share = piece_maps(maps, pieces, grid, windows_of(canvas, sizes, device), PARTS)
        if self.resized:
            theirs, their_share = piece_maps(maps, pieces, grid, self._in_box(canvas, sizes, device), PARTS)
            their_share = (1 - self.share) * their_share
        else:
            theirs, their_share = own, share * others
        other = self._rows(share)
        shares = torch.cat((share * (1 - others), their_share[other]), 1)  # [B, 2n, PARTS * H, PARTS * W]
        return [*own, *(one.take(other) for one in theirs)], F.avg_pool2d(shares, PARTS)

    @property
    def _box(self) -> tuple[int, int, int, int]:
        return self.box or (0, self.size[0], 0, self.size[1])

    def _rows(self, like: Tensor) -> Tensor:
        return self.other.to(like.device, non_blocking=True)

    def _in_box(
        self, canvas: tuple[int, int], sizes: Sequence[tuple[int, int]], device: torch.device
    ) -> Tensor:
        """The windows (B, 2, 2) of the canvas in which images show whose batch is resized to the box."""
        top, bottom, left, right = self._box
        across, down = (right - left) / self.size[1], (bottom - top) / self.size[0]
        windows = torch.tensor(
            [
                [
                    [left / canvas[1], (left + w * across) / canvas[1]],
                    [top / canvas[0], (top + h * down) / canvas[0]],
                ]
                for h, w in sizes
            ]
        )
        return windows.to(device, non_blocking=True)


def _covered(low: int, high: int, end: int, length: int, n: int) -> Tensor:
    """The share of each of n cells that an interval covers, (n,) float64.

    Cells divide a length; what lies beyond `end` does not count.
    """
    edges = (torch.arange(n + 1, dtype=torch.float64) * length / n).clamp_max(end)
    inside = edges[1:].clamp_max(high) - edges[:-1].clamp_min(low)
    return inside.clamp_min(0) / edges.diff().clamp_min(1e-9)
