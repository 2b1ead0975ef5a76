"""Mixing of images in pairs (Mixup, CutMix), and the maps of mixed images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .interaction_maps import InteractionMaps, valid_locations
from .tiles import Placement, Tiles, image_areas, place_tiles
from .views import tensor_like

# Number of parts into which each side of a location is divided: an edge of a box may cross a location.
PARTS = 4


@dataclass(frozen=True)
class BatchMixture:
    """Mixing of a batch in pairs: over the whole image (Mixup), or in a box (CutMix, ResizeMix).

    Args:
        other: (B,) int64 on the CPU, row of the image that is mixed into each image.
        size: height and width in pixels of the batch.
        share: weight of the original image where the other image is visible. Defaults to 0.
        box: top, bottom, left and right in pixels of the other image's area. Defaults to None: the whole
            image.
        resized: whether the other image is resized to the box, and not cropped. Defaults to False.
    """

    other: Tensor
    size: tuple[int, int]
    share: float = 0.0
    box: tuple[int, int, int, int] | None = None
    resized: bool = False

    def mix_labels(self, labels: Tensor) -> Tensor:
        """Mix the labels (B, C) of images by their shares of the area."""
        height, width = self.size
        top, bottom, left, right = self._box
        other_share = (1 - self.share) * (bottom - top) * (right - left) / (height * width)
        return (1 - other_share) * labels + other_share * labels[self._other_rows(labels)]

    def place(
        self,
        tiles: Sequence[Tiles],
        grid: tuple[int, int],
        window: Tensor,
        canvas: tuple[int, int] | None = None,
    ) -> Placement:
        """Place the images of mixed pictures on a grid.

        Args:
            tiles: tiles of each of the B images before mixing.
            grid: (H, W) over the canvas.
            window: (B, 2, 2), the part of the canvas that each of the B images fills, from `image_windows`.
            canvas: height and width in pixels of the canvas, with the batch at its top left. Defaults to
                None: the batch.

        Returns:
            Placement of 2n images a picture: n of the image itself, then n of the image that is mixed into
            it.
        """
        canvas = canvas or self.size
        top, bottom, left, right = self._box
        # An edge of the box may cross a location.
        parts = PARTS * grid[0], PARTS * grid[1]
        rows = _interval_coverage(top, bottom, self.size[0], canvas[0], parts[0])
        columns = _interval_coverage(left, right, self.size[1], canvas[1], parts[1])
        weight = ((1 - self.share) * rows[:, None] * columns).to(window, non_blocking=True)
        own = place_tiles(tiles, parts, window)
        other, other_share = own, own.share * weight
        if self.resized:
            other = place_tiles(tiles, parts, self._windows_in_box(window, canvas))
            other_share = other.share * (1 - self.share)
        index = self._other_rows(window)
        share = torch.cat((own.share * (1 - weight), other_share[index]), 1)  # [B, 2n, PARTS * H, PARTS * W]
        return Placement(
            rows=torch.cat((own.rows, other.rows[index]), 1),
            views=torch.cat((own.views, other.views[self._other_rows(other.views)]), 1),
            windows=torch.cat((own.windows, other.windows[index]), 1),
            share=F.avg_pool2d(share, PARTS),
        )

    @property
    def _box(self) -> tuple[int, int, int, int]:
        return self.box or (0, self.size[0], 0, self.size[1])

    def _other_rows(self, reference: Tensor) -> Tensor:
        return self.other.to(reference.device, non_blocking=True)

    def _windows_in_box(self, window: Tensor, canvas: tuple[int, int]) -> Tensor:
        """Windows (B, 2, 2) of the images on the canvas after the padded batch is resized to the box."""
        top, bottom, left, right = self._box
        start = tensor_like([[left / canvas[1]], [top / canvas[0]]], window)
        scale = tensor_like([[(right - left) / self.size[1]], [(bottom - top) / self.size[0]]], window)
        return start + scale * window


def _interval_coverage(low: int, high: int, end: int, length: int, n: int) -> Tensor:
    """Share that an interval covers of each cell, (n,) float64, when `length` is divided into n equal cells.

    The part of a cell beyond `end` does not count.
    """
    edges = (torch.arange(n + 1, dtype=torch.float64) * length / n).clamp_max(end)
    inside = edges[1:].clamp_max(high) - edges[:-1].clamp_min(low)
    return inside.clamp_min(0) / edges.diff().clamp_min(1e-9)


def mix_maps(sources: Sequence[InteractionMaps], share: Tensor) -> InteractionMaps:
    """Mix the maps of several images into the maps of pictures that show these images.

    Args:
        sources: n maps of B images each, on one grid, of the same concepts for all images of a picture.
        share: (B, n, H, W), share of each location that shows each source.

    Returns:
        Maps of these concepts. A location is valid if at least half of it shows sources.

    Raises:
        ValueError: if the maps have no semantic direction: scores that are normalised within an image cannot
            be compared with those of another image.
    """
    first = sources[0]
    weight, valid = _source_weights(share)
    if len(sources) == 1:
        return replace(first, valid=valid)
    if 'semantic' not in first.directions:
        raise ValueError(
            f'maps with the directions {first.directions} cannot be mixed: their scores are normalised '
            "within each image. Use a teacher whose maps have the direction 'semantic', or leave images "
            'unmixed'
        )
    with torch.autocast(first.logits.device.type, enabled=False):
        log_probs = torch.stack([maps.semantic_log_probs() for maps in sources], 1)  # [B, n, L, M, H, W]
        level = torch.stack([maps.logits.logsumexp(2, keepdim=True) for maps in sources], 1)
        weight = weight[:, :, None, None]  # [B, n, 1, 1, H, W]
        logits = (log_probs + weight.log()).logsumexp(1) + (level * weight).sum(1)
        presence = torch.stack([maps.presence for maps in sources], 1)  # [B, n, M]
        presence = (image_areas(share)[..., None] * presence).sum(1).clamp(0, 1)
    return replace(first, logits=logits, presence=presence, valid=valid, spatial_logits=None)


def mean_maps(sources: Sequence[InteractionMaps], share: Tensor) -> InteractionMaps:
    """Average maps of features by the shares of `mix_maps`, with the presence of the first source."""
    weight, valid = _source_weights(share)
    logits = torch.stack([maps.logits for maps in sources], 1)  # [B, n, L, M, H, W]
    return replace(sources[0], logits=(logits * weight[:, :, None, None]).sum(1), valid=valid)


def _source_weights(share: Tensor) -> tuple[Tensor, Tensor]:
    """Normalise the shares (B, n, H, W) at each location to a sum of 1; and find the valid locations."""
    total = share.sum(1, keepdim=True)
    # Locations that show nothing get equal weights, so that their values are finite.
    weight = torch.where(total > 0, share / total.clamp_min(1e-6), 1 / share.shape[1])
    return weight, valid_locations(total[:, 0])
