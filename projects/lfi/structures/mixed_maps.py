"""Mixing of images in pairs (Mixup, CutMix), and the maps of mixed images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .interaction_maps import OTHER, InteractionMaps, valid_locations
from .tiles import Tiles, tile_maps
from .views import image_windows

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

    def sources(
        self,
        maps: InteractionMaps,
        tiles: Sequence[Tiles],
        grid: tuple[int, int],
        canvas: tuple[int, int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        other_maps: InteractionMaps | None = None,
    ) -> tuple[list[InteractionMaps], Tensor]:
        """Return the source maps of mixed images and their shares, for `mix_maps`.

        Args:
            maps: maps of all S images in the tiles, for `tile_maps`.
            tiles: tiles of each of the B images before mixing.
            grid: (H, W) over the canvas.
            canvas: height and width in pixels of the canvas, with the batch at its top left. Defaults to
                None: the batch.
            sizes: height and width in pixels of each image, at the top left of the batch. Defaults to None:
                each image fills the batch.
            other_maps: maps of the images in pictures into which they are mixed. Defaults to None: `maps`.

        Returns:
            2n maps of B images and their shares (B, 2n, H, W): n for the image itself, then n for the image
            that is mixed into it.
        """
        canvas, sizes = canvas or self.size, sizes or [self.size] * len(tiles)
        device = maps.logits.device
        top, bottom, left, right = self._box
        rows = _interval_coverage(top, bottom, self.size[0], canvas[0], PARTS * grid[0])
        columns = _interval_coverage(left, right, self.size[1], canvas[1], PARTS * grid[1])
        weight = ((1 - self.share) * rows[:, None] * columns).float().to(device, non_blocking=True)
        windows = image_windows(canvas, sizes, device)
        sources, share = tile_maps(maps, tiles, grid, windows, PARTS)
        other_sources, other_share = sources, share
        if self.resized:
            windows = self._box_windows(canvas, sizes, device)
        if self.resized or other_maps is not None:
            other_maps = maps if other_maps is None else other_maps
            other_sources, other_share = tile_maps(other_maps, tiles, grid, windows, PARTS)
        other_share = other_share * (1 - self.share if self.resized else weight)
        other = self._other_rows(share)
        shares = torch.cat((share * (1 - weight), other_share[other]), 1)  # [B, 2n, PARTS * H, PARTS * W]
        return [*sources, *(source.take(other) for source in other_sources)], F.avg_pool2d(shares, PARTS)

    @property
    def _box(self) -> tuple[int, int, int, int]:
        return self.box or (0, self.size[0], 0, self.size[1])

    def _other_rows(self, reference: Tensor) -> Tensor:
        return self.other.to(reference.device, non_blocking=True)

    def _box_windows(
        self, canvas: tuple[int, int], sizes: Sequence[tuple[int, int]], device: torch.device
    ) -> Tensor:
        """Window (B, 2, 2) of each image on the canvas after the padded batch is resized to the box."""
        top, bottom, left, right = self._box
        x_scale, y_scale = (right - left) / self.size[1], (bottom - top) / self.size[0]
        windows = torch.tensor(
            [
                [
                    [left / canvas[1], (left + w * x_scale) / canvas[1]],
                    [top / canvas[0], (top + h * y_scale) / canvas[0]],
                ]
                for h, w in sizes
            ]
        )
        return windows.to(device, non_blocking=True)


def _interval_coverage(low: int, high: int, end: int, length: int, n: int) -> Tensor:
    """Share that an interval covers of each cell, (n,) float64, when `length` is divided into n equal cells.

    The part of a cell beyond `end` does not count.
    """
    edges = (torch.arange(n + 1, dtype=torch.float64) * length / n).clamp_max(end)
    inside = edges[1:].clamp_max(high) - edges[:-1].clamp_min(low)
    return inside.clamp_min(0) / edges.diff().clamp_min(1e-9)


def mix_maps(
    sources: Sequence[InteractionMaps], share: Tensor, num_concepts: int, labels: Tensor | None = None
) -> InteractionMaps:
    """Mix the maps of several images into the maps of pictures that show these images.

    Args:
        sources: n maps of B images each, on one grid. Maps with `concepts` have the joint map, `OTHER`, last.
        share: (B, n, H, W) or (1, n, H, W), share of each location that shows each source.
        num_concepts: C, size of the bank with its background.
        labels: (B, C) in [0, 1], labels of the pictures. Labelled concepts are chosen first, then concepts of
            the largest presence. Defaults to None: nothing is labelled.

    Returns:
        Maps of as many concepts as a source has. A location is valid if at least half of it shows sources.

    Raises:
        ValueError: if the maps have no semantic direction: scores that are normalised within an image cannot
            be compared with those of another image.
    """
    first = sources[0]
    if len(sources) == 1:
        return replace(first, valid=_source_weights(sources, share)[2])
    if 'semantic' not in first.directions:
        raise ValueError(
            f'maps with the directions {first.directions} cannot be mixed: their scores are normalised '
            "within each image. Use a teacher whose maps have the direction 'semantic', or leave images "
            'unmixed'
        )
    weight, area, valid = _source_weights(sources, share)
    with torch.autocast(first.logits.device.type, enabled=False):
        log_probs = torch.stack([maps.semantic_log_probs() for maps in sources], 1)  # [B, n, L, M, H, W]
        level = torch.stack([maps.logits.logsumexp(2, keepdim=True) for maps in sources], 1)
        presence = torch.stack([maps.presence for maps in sources], 1)  # [B, n, M]
        concepts = first.concepts
        if concepts is not None:
            source_concepts = torch.stack(
                [maps.concepts[:, :-1] for maps in sources if maps.concepts is not None], 1
            )
            source_presence = area[..., None] * presence[..., :-1]
            chosen = _choose_concepts(source_concepts, source_presence, num_concepts, labels)
            log_probs, presence = _align_concepts(chosen, source_concepts, log_probs, presence, num_concepts)
            concepts = F.pad(chosen, (0, 1), value=OTHER)
        weight = weight[:, :, None, None]  # [B, n, 1, 1, H, W]
        logits = (log_probs + weight.log()).logsumexp(1) + (level * weight).sum(1)
        presence = (area[..., None] * presence).sum(1).clamp(0, 1)
    return replace(
        first, logits=logits, presence=presence, valid=valid, concepts=concepts, spatial_logits=None
    )


def mean_maps(sources: Sequence[InteractionMaps], share: Tensor) -> InteractionMaps:
    """Average maps of features by the shares of `mix_maps`, with the presence of the first source."""
    weight, _, valid = _source_weights(sources, share)
    logits = torch.stack([maps.logits for maps in sources], 1)  # [B, n, L, M, H, W]
    return replace(sources[0], logits=(logits * weight[:, :, None, None]).sum(1), valid=valid)


def _source_weights(sources: Sequence[InteractionMaps], share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised weights of the sources: their shares at their valid locations.

    Returns:
        Weights at each location, (B, n, H, W); weights over the picture, (B, n); and the valid locations,
        (B, H, W). Weights sum to 1 over the sources.
    """
    share = share * torch.stack([maps.valid for maps in sources], 1)
    total = share.sum(1, keepdim=True)
    # Invalid locations get equal weights, so that their values are finite.
    weight = torch.where(total > 0, share / total.clamp_min(1e-6), 1 / len(sources))
    area = share.sum((-2, -1))
    return weight, area / area.sum(1, keepdim=True).clamp_min(1e-6), valid_locations(total[:, 0])


def _choose_concepts(
    source_concepts: Tensor, presence: Tensor, num_concepts: int, labels: Tensor | None
) -> Tensor:
    """Choose M concepts (B, M) of mixed images: labelled concepts first, then by presence.

    Args:
        source_concepts: (B, n, M), concepts of the sources' maps.
        presence: (B, n, M), presence of these concepts, weighted by the area of their source.
        num_concepts: C.
        labels: (B, C) or None.
    """
    candidates = source_concepts.flatten(1)
    rank = presence.new_zeros(len(candidates), num_concepts).scatter_add_(1, candidates, presence.flatten(1))
    if labels is not None:
        # Presence decides between labels.
        rank = rank + 2 * (labels > 0)
    absent = torch.ones_like(rank, dtype=torch.bool).scatter_(1, candidates, False)
    return rank.masked_fill(absent, -1).topk(source_concepts.shape[2], 1).indices


def _align_concepts(
    chosen: Tensor, source_concepts: Tensor, log_probs: Tensor, presence: Tensor, num_concepts: int
) -> tuple[Tensor, Tensor]:
    """Convert the sources' log-probabilities and presence to the chosen concepts.

    Args:
        chosen: (B, M), concepts of the result.
        source_concepts: (B, n, M), concepts of the sources' maps.
        log_probs: (B, n, L, M + 1, H, W), log-probabilities of the source's concepts and of its `OTHER`.
        presence: (B, n, M + 1), presence of the source's concepts and of `OTHER`.
        num_concepts: C.

    Returns:
        Log-probabilities and presence of the chosen concepts and of `OTHER`, in the shapes of the arguments.
    """
    b, n, m = source_concepts.shape
    device, num_other = source_concepts.device, num_concepts - m
    # Index of each concept among a source's maps; M, the index of OTHER, if the source has no map of it.
    position = torch.full((b, n, num_concepts), m, device=device)
    position.scatter_(2, source_concepts, torch.arange(m, device=device).expand_as(source_concepts))
    position = position.gather(2, chosen[:, None].expand_as(source_concepts))  # [B, n, M]
    in_other = position == m
    index = position[:, :, None, :, None, None].expand(-1, -1, log_probs.shape[2], -1, *log_probs.shape[-2:])
    chosen_probs = log_probs.gather(3, index) - math.log(num_other) * in_other[:, :, None, :, None, None]
    # The new OTHER: the source's concepts that are not chosen, and its OTHER without the chosen concepts.
    is_chosen = torch.zeros(b, num_concepts, dtype=torch.bool, device=device).scatter_(1, chosen, True)
    is_chosen = is_chosen[:, None].expand(-1, n, -1).gather(2, source_concepts)
    remaining = torch.log1p(-in_other.sum(2) / num_other)  # [B, n]
    offset = torch.zeros_like(remaining)[..., None].masked_fill(is_chosen, float('-inf'))  # [B, n, M]
    offset = torch.cat((offset, remaining[..., None]), 2)[:, :, None, :, None, None]
    other_probs = (log_probs + offset).logsumexp(3, keepdim=True)
    return torch.cat((chosen_probs, other_probs), 3), presence.gather(2, F.pad(position, (0, 1), value=m))
