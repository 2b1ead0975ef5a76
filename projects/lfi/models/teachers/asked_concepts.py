"""Selection of the concepts that each image of a batch is asked about."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.structures import OTHER, InteractionMaps


def num_asked_concepts(bank: ConceptBank, max_concepts: int | None) -> int | None:
    """Number of concepts that the teacher is asked about per image; None for the whole bank.

    Args:
        bank: concepts of the teacher. The background is never asked about.
        max_concepts: upper limit. None for no limit.
    """
    num_asked = bank.num_concepts if max_concepts is None else min(max_concepts, bank.num_concepts)
    return num_asked if num_asked < len(bank) else None


MIN_KEPT, KEPT_FOR_ASKED = 32, 2
"""Least number of concepts of an image in a cache, and their number for each one that training asks about.

The teacher alone chooses them, so that a cache serves all labels, and most labels are among so many.
"""


def check_max_concepts(max_concepts: object) -> None:
    """Raise a ValueError for a `max_concepts` that is neither a whole number above 0 nor None."""
    if max_concepts is not None and (type(max_concepts) is not int or max_concepts < 1):
        raise ValueError(f'max_concepts={max_concepts!r} must be a whole number above 0, or None for all')


def num_kept_concepts(max_concepts: int | None) -> int | None:
    """Return the number of concepts of an image in a cache, given `max_concepts`; None for all."""
    return None if max_concepts is None else max(MIN_KEPT, KEPT_FOR_ASKED * max_concepts)


def topk_concepts(
    maps: InteractionMaps, labels: Tensor | None, bank: ConceptBank, max_concepts: int
) -> InteractionMaps:
    """Keep the maps of each image's labels and most present concepts, and merge all others into one map.

    Args:
        maps: maps of all C texts of the bank, or of at least M concepts and of `OTHER`.
        labels: (B, C) in [0, 1], texts of the bank that each image is labelled with. None if unknown.
        bank: concepts of the teacher. The background, its last entries, is never asked about.
        max_concepts: M, number of concepts to keep.

    Returns:
        Maps of the M concepts and, last, the joint map `OTHER`: the log-sum-exp of all other texts.
    """
    area = maps.presence.new_ones(len(maps.presence), 1)
    return maps_of_concepts(maps, choose_concepts([maps], area, labels, bank, max_concepts), len(bank))


def choose_concepts(
    images: Sequence[InteractionMaps],
    area: Tensor,
    labels: Tensor | None,
    bank: ConceptBank,
    max_concepts: int,
) -> Tensor:
    """Choose the concepts to ask about in pictures that show n images each.

    Labels come first, then the concepts of the largest presence in all images of a picture.

    Args:
        images: n maps of B images, as `topk_concepts` takes them. A concept without a map in a
            visible image is not chosen.
        area: (B, n) in [0, 1], share of each image in the picture, by which its presence counts.
        labels: (B, C) in [0, 1], labels of the pictures. None if unknown.
        bank: concepts of the teacher. The background, its last entries, is never chosen.
        max_concepts: M, number of concepts to choose.

    Returns:
        (B, M) int64.
    """
    rank = area.new_zeros(len(area), len(bank))
    is_kept = torch.zeros_like(rank, dtype=torch.bool)
    for maps, weight in zip(images, area.split(1, 1)):
        if maps.concepts is None:
            rank, is_kept = rank + weight * maps.presence, is_kept | (weight > 0)
        else:
            kept = maps.concepts[:, :-1]
            rank.scatter_add_(1, kept, weight * maps.presence[:, :-1])
            is_kept |= torch.zeros_like(is_kept).scatter_(1, kept, (weight > 0).expand_as(kept))
    if labels is not None:
        # A label comes first, however small its share of a mixed picture.
        rank = rank + 2 * (labels > 0)
    return rank.masked_fill(~is_kept, -1)[:, : bank.num_concepts].topk(max_concepts, 1).indices


def maps_of_concepts(maps: InteractionMaps, concepts: Tensor, num_texts: int) -> InteractionMaps:
    """Keep the maps of given concepts of each image, and merge all others into one map.

    A concept that the maps do not have gets an even share of `OTHER`, and a presence of 0.

    Args:
        maps: maps of all C texts of the bank, or of K concepts and, last, of `OTHER`.
        concepts: (B, M), concepts to keep, each once.
        num_texts: C.

    Returns:
        Maps of the M concepts and, last, `OTHER`: the log-sum-exp of all other texts.
    """
    num_maps = maps.presence.shape[1]
    weight = torch.zeros_like(maps.presence)  # [B, K + 1], logarithm of the part of a map that `OTHER` has
    if maps.concepts is None:
        asked = maps.gather(concepts)
        logits, presence = asked.logits, asked.presence
        weight.scatter_(1, concepts, float('-inf'))
    else:
        # The place of each concept among the maps; that of `OTHER`, the last one, if it has none.
        k, num_other = num_maps - 1, num_texts - (num_maps - 1)
        places = torch.full((len(concepts), num_texts), k, device=concepts.device)
        places.scatter_(
            1, maps.concepts[:, :-1], torch.arange(k, device=concepts.device).expand(len(concepts), k)
        )
        places = places.gather(1, concepts)  # [B, M]
        is_missing = places == k
        asked = maps.gather(places)
        logits = asked.logits - math.log(num_other) * is_missing[:, None, :, None, None]
        presence = asked.presence.masked_fill(is_missing, 0)
        weight.scatter_(1, places, float('-inf'))
        weight[:, -1] = torch.log1p(-is_missing.sum(1) / num_other)
    rest = (maps.logits + weight[:, None, :, None, None]).logsumexp(2, keepdim=True)  # [B, L, 1, h, w]
    return InteractionMaps(
        logits=torch.cat((logits, rest), 2),
        presence=F.pad(presence, (0, 1)),
        valid=maps.valid,
        concepts=F.pad(concepts, (0, 1), value=OTHER),
        layers=maps.layers,
        directions=maps.directions,
    )
