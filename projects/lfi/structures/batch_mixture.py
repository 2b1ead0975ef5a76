"""How the images of a batch were mixed in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .interaction_maps import InteractionMaps


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
        self, maps: InteractionMaps, canvas: tuple[int, int] | None = None
    ) -> tuple[Sequence[InteractionMaps], Tensor]:
        """The maps of each image and of the other, where they show in it.

        Args:
            maps: of the images before they were mixed, on a grid over the canvas.
            canvas: height and width in pixels of what the grid covers, the batch at its top left. Defaults
                to None: the batch.

        Returns:
            Two maps, and the share of each location that shows each, (1, 2, H, W).
        """
        canvas = canvas or self.size
        device = maps.logits.device
        other = maps.take(self._rows(maps.logits))
        if self.resized:
            # At the box's edges the share counts: where nothing is padding, all that shows is valid.
            complete = other.valid.flatten(1).all(1)[:, None, None]
            other = other.warp(self._box_view(canvas), maps.grid)
            other = replace(other, valid=other.valid | complete)
        top, bottom, left, right = self._box
        rows = _covered(top, bottom, canvas[0], maps.grid[0])
        columns = _covered(left, right, canvas[1], maps.grid[1])
        others = (1 - self.share) * rows[:, None] * columns
        share = torch.stack((1 - others, others))[None].float()
        return (maps, other), share.to(device, non_blocking=True)

    @property
    def _box(self) -> tuple[int, int, int, int]:
        return self.box or (0, self.size[0], 0, self.size[1])

    def _rows(self, like: Tensor) -> Tensor:
        return self.other.to(like.device, non_blocking=True)

    def _box_view(self, canvas: tuple[int, int]) -> Tensor:
        """From the canvas to the one that is shown in the box, (1, 2, 3), both from -1 to 1."""
        top, bottom, left, right = self._box
        rows = []
        for axis, (low, high, n, all_) in enumerate(
            ((left, right, self.size[1], canvas[1]), (top, bottom, self.size[0], canvas[0]))
        ):
            scale = n / max(high - low, 1)
            row = [0.0, 0.0, scale - 1 - 2 * scale * low / all_]
            row[axis] = scale
            rows.append(row)
        return torch.tensor([rows])


def _covered(low: int, high: int, length: int, n: int) -> Tensor:
    """Which part of each of n cells over a length an interval covers, (n,) float64."""
    edges = torch.arange(n + 1, dtype=torch.float64) * length / n
    inside = edges[1:].clamp_max(high) - edges[:-1].clamp_min(low)
    return inside.clamp_min(0) * n / length
