"""How images of a batch were mixed in pairs, and maps of an image that shows several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .interaction_maps import OTHER, InteractionMaps, shown_enough
from .tiles import Tiles, tile_maps
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
        tiles: Sequence[Tiles],
        grid: tuple[int, int],
        canvas: tuple[int, int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[list[InteractionMaps], Tensor]:
        """The maps of what the mixed images show, for `mix_maps`.

        Args:
            maps: of all that the images showed before they were mixed, as `tile_maps` has it.
            tiles: of each image before it was mixed.
            grid: (H, W) over the canvas.
            canvas: height and width in pixels of what the grid covers, the batch at its top left. Defaults
                to None: the batch.
            sizes: height and width in pixels of each image, which lies at the top left of the batch. Defaults
                to None: each fills it.

        Returns:
            As `tile_maps`: first what each image shows of its own, then of the other.
        """
        canvas, sizes = canvas or self.size, sizes or [self.size] * len(tiles)
        device = maps.logits.device
        top, bottom, left, right = self._box
        # Within a location the box may lie where an image shows, or beside it: products are taken of parts.
        rows = _covered(top, bottom, self.size[0], canvas[0], PARTS * grid[0])
        columns = _covered(left, right, self.size[1], canvas[1], PARTS * grid[1])
        others = ((1 - self.share) * rows[:, None] * columns).float().to(device, non_blocking=True)
        own, share = tile_maps(maps, tiles, grid, windows_of(canvas, sizes, device), PARTS)
        if self.resized:
            theirs, their_share = tile_maps(maps, tiles, grid, self._in_box(canvas, sizes, device), PARTS)
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


def mix_maps(
    sources: Sequence[InteractionMaps], share: Tensor, num_concepts: int, labels: Tensor | None = None
) -> InteractionMaps:
    """The maps of images that show several others.

    Args:
        sources: n maps of B images each, on one grid; those that name concepts have `OTHER` as their last.
        share: (B, n, H, W) or (1, n, H, W), how much of each location shows each source.
        num_concepts: C, of the bank, its background included.
        labels: (B, C) in [0, 1], of the mixed images: labels come first among what an image is asked about,
            then the greatest presence. Defaults to None: nothing is labelled.

    Returns:
        Maps of as many concepts as a source has. A location is valid as `InteractionMaps.warp` has it, where
        the sources' shares add up to enough.

    Raises:
        ValueError: if the maps have no semantic reading: scores that are normalised in each image by
            itself cannot be compared with another image's.
    """
    like = sources[0]
    if len(sources) == 1:
        return replace(like, valid=_visible(sources, share)[2])
    if 'semantic' not in like.directions:
        raise ValueError(
            f'maps with the directions {like.directions} cannot be mixed: their scores are normalised in '
            "each image by itself. Use a teacher with the reading 'semantic', or leave images unmixed"
        )
    weight, area, valid = _visible(sources, share)
    with torch.autocast(like.logits.device.type, enabled=False):
        log_p = torch.stack([maps.semantic_log_probs() for maps in sources], 1)  # [B, n, L, M, H, W]
        level = torch.stack([maps.logits.logsumexp(2, keepdim=True) for maps in sources], 1)
        presence = torch.stack([maps.presence for maps in sources], 1)  # [B, n, M]
        concepts = like.concepts
        if concepts is not None:
            named = torch.stack([maps.concepts[:, :-1] for maps in sources if maps.concepts is not None], 1)
            asked = _asked(named, area[..., None] * presence[..., :-1], num_concepts, labels)
            log_p, presence = _about(asked, named, log_p, presence, num_concepts)
            concepts = F.pad(asked, (0, 1), value=OTHER)
        weight = weight[:, :, None, None]  # [B, n, 1, 1, H, W]
        logits = (log_p + weight.log()).logsumexp(1) + (level * weight).sum(1)
        presence = (area[..., None] * presence).sum(1).clamp(0, 1)
    return replace(
        like, logits=logits, presence=presence, valid=valid, concepts=concepts, spatial_logits=None
    )


def mean_maps(sources: Sequence[InteractionMaps], share: Tensor) -> InteractionMaps:
    """The mean of maps, weighted by the share of each location that shows each source: of features.

    Arguments as `mix_maps`; presence is the first source's.
    """
    weight, _, valid = _visible(sources, share)
    logits = torch.stack([maps.logits for maps in sources], 1)  # [B, n, L, M, H, W]
    return replace(sources[0], logits=(logits * weight[:, :, None, None]).sum(1), valid=valid)


def _visible(sources: Sequence[InteractionMaps], share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What of the sources counts.

    Returns:
        Each source's weight at each location, (B, n, H, W), and in the visible area, (B, n); both add up to
        1. And the valid locations, (B, H, W).
    """
    share = share * torch.stack([maps.valid for maps in sources], 1)
    seen = share.sum(1, keepdim=True)
    # Where nothing is visible nothing counts, and all is finite.
    weight = torch.where(seen > 0, share / seen.clamp_min(1e-6), 1 / len(sources))
    area = share.sum((-2, -1))
    return weight, area / area.sum(1, keepdim=True).clamp_min(1e-6), shown_enough(seen[:, 0])


def _asked(named: Tensor, presence: Tensor, num_concepts: int, labels: Tensor | None) -> Tensor:
    """What mixed images are asked about, (B, M): the first by rank, as a teacher chooses.

    Args:
        named: (B, n, M), what their sources were asked about.
        presence: (B, n, M), what each source adds to the presence of these.
        num_concepts: C.
        labels: (B, C) or None.
    """
    every = named.flatten(1)
    rank = presence.new_zeros(len(named), num_concepts).scatter_add_(1, every, presence.flatten(1))
    if labels is not None:
        rank = torch.maximum(rank, labels.to(rank)) + (labels > 0)
    unknown = torch.ones_like(rank, dtype=torch.bool).scatter_(1, every, False)
    return rank.masked_fill(unknown, -1).topk(named.shape[2], 1).indices


def _about(
    asked: Tensor, named: Tensor, log_p: Tensor, presence: Tensor, num_concepts: int
) -> tuple[Tensor, Tensor]:
    """What the sources say of what mixed images are asked about, and of the rest.

    Args:
        asked: (B, M).
        named: (B, n, M), what the sources were asked about.
        log_p: (B, n, L, M + 1, H, W), their log-probabilities of these and of `OTHER`.
        presence: (B, n, M + 1), theirs.
        num_concepts: C.

    Returns:
        As `log_p` and `presence`, for what is asked, and `OTHER`.
    """
    b, n, m = named.shape
    others = num_concepts - m
    # Where a source has each concept: at M, its rest, where it was not asked.
    place = torch.full((b, n, num_concepts), m, device=named.device)
    place.scatter_(2, named, torch.arange(m, device=named.device).expand_as(named))
    place = place.gather(2, asked[:, None].expand_as(named))  # [B, n, M]
    unknown = place == m
    wide = place[:, :, None, :, None, None].expand(-1, -1, log_p.shape[2], -1, *log_p.shape[-2:])
    of_asked = log_p.gather(3, wide) - math.log(others) * unknown[:, :, None, :, None, None]
    # The rest: what the source knew and nobody asks about now, and its own rest less what was taken from it.
    gone = torch.zeros(b, num_concepts, dtype=torch.bool, device=named.device).scatter_(1, asked, True)
    gone = gone[:, None].expand(-1, n, -1).gather(2, named)
    left = torch.log1p(-unknown.sum(2) / others)  # [B, n]
    offset = torch.zeros_like(left)[..., None].masked_fill(gone, float('-inf'))  # [B, n, M]
    offset = torch.cat((offset, left[..., None]), 2)[:, :, None, :, None, None]
    of_rest = (log_p + offset).logsumexp(3, keepdim=True)
    return torch.cat((of_asked, of_rest), 3), presence.gather(2, F.pad(place, (0, 1), value=m))
