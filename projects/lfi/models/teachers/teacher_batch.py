"""What a teacher is shown of a batch, and which concepts its images are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.structures import REST, BatchMixture, InteractionMaps, Pieces
from lfi.structures.interaction_cache import StoredMaps


@dataclass(frozen=True)
class PixelFormat:
    """How a batch's pixels were made from RGB values in [0, 255]: (value - mean) / std.

    Args:
        mean: three numbers, in the batch's channel order.
        std: three numbers, likewise.
        rgb: whether the batch's channels are RGB; else BGR.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool

    @classmethod
    def raw(cls, rgb: bool = False) -> PixelFormat:
        """Of values in [0, 255], which images have when they are loaded: as BGR."""
        return cls((0.0,) * 3, (1.0,) * 3, rgb)


@dataclass(frozen=True)
class TeacherBatch:
    """A batch as a teacher needs it: asked online it reads the images, cached it reads what is stored.

    Args:
        inputs: (B, 3, H, W), as the student gets them.
        pixels: how their pixels were made.
        valid_sizes: height and width in pixels of each image's area at the top left that is not padding.
        labels: (B, C) in [0, 1], the labels of what the view shows, among the concepts; None where no
            concept is asked about.
        stored: what a cache holds of each image, or None where the pipeline has read none.
        views: (B, 2, 3), what each image shows of its file, as `InteractionMaps.warp` takes it, or None where
            the pipeline has recorded none.
        pieces: where each shows several files, or None where all show one.
        mixture: how the images were mixed after that, or None where they were not.
    """

    inputs: Tensor
    pixels: PixelFormat
    valid_sizes: Sequence[tuple[int, int]]
    labels: Tensor | None = None
    stored: Sequence[StoredMaps] | None = None
    views: Tensor | None = None
    pieces: Sequence[Pieces] | None = None
    mixture: BatchMixture | None = None


def asked_at_once(bank: ConceptBank, max_concepts: int | None) -> int | None:
    """How many concepts an image is asked about; None where these are all of the bank.

    Args:
        bank: the background is never asked about.
        max_concepts: at most so many; None for no limit.
    """
    asked = bank.num_concepts if max_concepts is None else min(max_concepts, bank.num_concepts)
    return asked if asked < len(bank) else None


def most_present(
    maps: InteractionMaps, labels: Tensor | None, bank: ConceptBank, max_concepts: int
) -> InteractionMaps:
    """The maps of each image's labels, and of the concepts that are most present; one more for all others.

    Args:
        maps: of all concepts of the bank.
        labels: (B, C) in [0, 1], the images' labels among the concepts; None where none is known.
        bank: the background, its last entries, is never asked about.
        max_concepts: M, as many are kept.

    Returns:
        The maps of M + 1 concepts, the last of which is `REST`, the log-sum-exp of all others.
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
        concepts=F.pad(index, (0, 1), value=REST),
        layers=maps.layers,
        directions=maps.directions,
    )
