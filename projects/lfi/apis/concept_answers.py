"""What labels are made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ConceptAnswers:
    """What a model says of T concepts in one image. All tensors are on the CPU.

    Args:
        presence: (T,) in [0, 1], whether the image shows each concept.
        maps: (T, h, w) float32, where: higher is stronger, of any scale.
        view: (2, 3), the part of the image that the maps show, as `InteractionResult` has it.
        comparable: whether maps of different concepts are on one scale, so that the stronger of two names a
            location.
    """

    presence: Tensor
    maps: Tensor
    view: Tensor
    comparable: bool
