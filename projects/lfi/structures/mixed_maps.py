"""Maps of an image that shows several others: blended (Mixup) or side by side (CutMix, Mosaic).

Each location shows each source image by a share. Over concepts a location reads the mean of the sources'
probabilities, weighted by these shares. Over positions by share it reads the same probabilities; by scores it
reads their logarithm, raised by the sources' mean log-partition: where a location shows one source alone, the
scores are that source's. Presence is the mean of the sources' presence, weighted by the share of the visible
area, as labels are mixed.

Where maps name M concepts and `REST`, the mixed image is asked about M of all that its sources were asked
about. What a source was asked about is exact. Of others it is known only that they are part of its `REST`,
which is divided evenly among the bank's concepts that it was not asked about: a probability is off by at most
the share of the source times the probability of its `REST`. `REST` is what the others leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .interaction_maps import REST, InteractionMaps, shown_enough


def mix_maps(
    sources: Sequence[InteractionMaps], share: Tensor, num_concepts: int, labels: Tensor | None = None
) -> InteractionMaps:
    """The maps of images that show several others.

    Args:
        sources: n maps of B images each, on one grid; those that name concepts have `REST` as their last.
        share: (B, n, H, W) or (1, n, H, W), how much of each location shows each source.
        num_concepts: C, of the bank, its background included.
        labels: (B, C) in [0, 1], of the mixed images: labels come first among what an image is asked about,
            then the greatest presence. Defaults to None: nothing is labelled.

    Returns:
        Maps of as many concepts as a source has. A location is valid as `InteractionMaps.warp` has it, where
        the sources' shares add up to enough.

    Raises:
        ValueError: if the maps have no reading over concepts: scores that are normalised in each image by
            itself cannot be compared with another image's.
    """
    like = sources[0]
    if len(sources) == 1:
        return replace(like, valid=_visible(sources, share)[2])
    if 'concepts' not in like.directions:
        raise ValueError(
            f'maps with the directions {like.directions} cannot be mixed: their scores are normalised in '
            "each image by itself. Use a teacher with the reading 'concepts', or leave images unmixed"
        )
    weight, area, valid = _visible(sources, share)
    with torch.autocast(like.logits.device.type, enabled=False):
        log_p = torch.stack([maps.over_concepts() for maps in sources], 1)  # [B, n, L, M, H, W]
        level = torch.stack([maps.logits.logsumexp(2, keepdim=True) for maps in sources], 1)
        presence = torch.stack([maps.presence for maps in sources], 1)  # [B, n, M]
        concepts = like.concepts
        if concepts is not None:
            named = torch.stack([maps.concepts[:, :-1] for maps in sources if maps.concepts is not None], 1)
            asked = _asked(named, area[..., None] * presence[..., :-1], num_concepts, labels)
            log_p, presence = _about(asked, named, log_p, presence, num_concepts)
            concepts = F.pad(asked, (0, 1), value=REST)
        weight = weight[:, :, None, None]  # [B, n, 1, 1, H, W]
        logits = (log_p + weight.log()).logsumexp(1) + (level * weight).sum(1)
        presence = (area[..., None] * presence).sum(1).clamp(0, 1)
    return replace(like, logits=logits, presence=presence, valid=valid, concepts=concepts, positions=None)


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
        log_p: (B, n, L, M + 1, H, W), their log-probabilities of these and of `REST`.
        presence: (B, n, M + 1), theirs.
        num_concepts: C.

    Returns:
        As `log_p` and `presence`, for what is asked, and `REST`.
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
