"""Which concepts of a bank the images of a batch are asked about."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.structures import OTHER, InteractionMaps


def asked_at_once(bank: ConceptBank, max_concepts: int | None) -> int | None:
    """How many concepts an image is asked about; None where these are all of the bank.

    Args:
        bank: the background is never asked about.
        max_concepts: at most so many; None for no limit.
    """
    asked = bank.num_concepts if max_concepts is None else min(max_concepts, bank.num_concepts)
    return asked if asked < len(bank) else None


def topk_concepts(
    maps: InteractionMaps, labels: Tensor | None, bank: ConceptBank, max_concepts: int
) -> InteractionMaps:
    """The maps of each image's labels, and of the concepts that are most present; one more for all others.

    Args:
        maps: of all concepts of the bank.
        labels: (B, C) in [0, 1], the images' labels among the concepts; None where none is known.
        bank: the background, its last entries, is never asked about.
        max_concepts: M, as many are kept.

    Returns:
        The maps of M + 1 concepts, the last of which is `OTHER`, the log-sum-exp of all others.
    """
    presence = maps.presence
    # A label comes first, however little of a mixed image it stands for.
    rank = presence if labels is None else torch.maximum(presence, labels.to(presence)) + (labels > 0)
    index = rank[:, : bank.num_concepts].topk(max_concepts, dim=1).indices  # [B, M]
    kept = maps.gather(index)
    taken = torch.zeros_like(presence, dtype=torch.bool).scatter_(1, index, True)
    others = maps.logits.masked_fill(taken[:, None, :, None, None], float('-inf'))
    rest = others.logsumexp(2, keepdim=True)  # [B, L, 1, h, w]
    return InteractionMaps(
        logits=torch.cat((kept.logits, rest), 2),
        presence=F.pad(kept.presence, (0, 1)),
        valid=maps.valid,
        concepts=F.pad(index, (0, 1), value=OTHER),
        layers=maps.layers,
        directions=maps.directions,
    )
